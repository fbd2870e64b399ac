/** What a builder needs of the program that makes images. */
import type { BuildMeta } from '../shared/protocol/builder-wire.ts';
import type { ProcessCall } from './tool-process.ts';

export const toolNames = ['buildah', 'podman', 'docker'] as const;
export type ToolName = (typeof toolNames)[number];

/** Absolute paths; all but `storage` end with the run. */
export interface RunFolders {
  readonly context: string;
  /** For files of the program. */
  readonly scratch: string;
  /** Of the slot; what is mounted is counted there, so it is emptied between runs. */
  readonly runroot: string;
  /** Of the slot, kept between runs: base images and layers. */
  readonly storage: string;
}

/** Options of the builder that every call gets. */
export interface ToolSettings {
  /** A config.json with credentials. */
  readonly authFile: string | undefined;
  /** Folder of *.crt, *.cert and *.key for registries. */
  readonly certificates: string | undefined;
  /** Generated; see registries-conf.ts. */
  readonly registriesConf: string | undefined;
  readonly isolation: 'oci' | 'rootless' | 'chroot';
  /** Of the builder; the program gets it, but for our own variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface Tool {
  readonly name: ToolName;
  build(meta: BuildMeta, folders: RunFolders): ProcessCall;
  push(meta: BuildMeta, folders: RunFolders): ProcessCall;
  /** After a push that ended well. @param lines of the push. @returns undefined where it does not say. */
  digest(folders: RunFolders, lines: readonly string[]): Promise<string | undefined>;
  /** Takes away what a run has left that is no cache. */
  tidy(meta: BuildMeta, folders: RunFolders): ProcessCall;
  /** Empties `RunFolders.storage`. Without it, the storage is a daemon's, and that is where the work is done too. */
  prune?(folders: RunFolders): ProcessCall;
}

/** Secret arguments come by the environment: command lines can be read by everybody on the machine. */
export function buildArguments(meta: BuildMeta): string[] {
  return [
    ...Object.entries(meta.args)
      .filter(([name]) => !Object.hasOwn(meta.secretArgs, name))
      .flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
    ...Object.keys(meta.secretArgs).flatMap((name) => ['--build-arg', name]),
    ...Object.entries(meta.labels).flatMap(([name, value]) => ['--label', `${name}=${value}`]),
    ...(meta.target === undefined ? [] : ['--target', meta.target]),
  ];
}

/** By these git, ssh and tar run commands: an ADD of a repository or an archive is the program's own work, not the container's. */
const reservedOfHelpers =
  /^(GIT_(SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|CONFIG|CONFIG_.*|EXEC_PATH|PROXY_COMMAND|TEMPLATE_DIR|EXTERNAL_DIFF|EDITOR|PAGER|ALLOW_PROTOCOL|DIR|WORK_TREE|TRACE.*|SSL_.*)|SSH_ASKPASS.*|SSH_AUTH_SOCK|EDITOR|PAGER|TAR_OPTIONS)$/;

/** Names that mean something to the programs themselves, or to the loader and the runtime they are made of. */
const reserved =
  /^(PATH|HOME|USER|SHELL|PWD|TMPDIR|IFS|ENV|BASH_ENV|REGISTRY_AUTH_FILE|(LD|DYLD|GO|XDG|DOCKER|BUILDKIT|BUILDX|BUILDAH|PODMAN|CONTAINERS?|STORAGE|SSL_CERT|DBUS|NOTIFY|_CONTAINERS|HOLDFAST)[A-Z0-9_]*|GLIBC_.*|MALLOC_.*)$/;

/** @returns the first secret argument that a program could not be given by its environment. */
export function reservedSecret(meta: BuildMeta): string | undefined {
  return Object.keys(meta.secretArgs).find((name) => reserved.test(name) || reservedOfHelpers.test(name));
}

/** @returns the environment of a program of a build. */
export function toolEnvironment(
  { env, registriesConf }: Pick<ToolSettings, 'env' | 'registriesConf'>,
  folders: RunFolders,
): Record<string, string | undefined> {
  const kept = Object.entries(env).filter(([name]) => !name.startsWith('HOLDFAST_'));
  return {
    ...Object.fromEntries(kept),
    // Blobs on their way are large, and stay behind where a program is killed.
    TMPDIR: folders.scratch,
    ...(registriesConf === undefined ? {} : { CONTAINERS_REGISTRIES_CONF: registriesConf }),
  };
}
