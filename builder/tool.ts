/** The interface to the program that builds images, and what all implementations share. */
import type { BuildMeta } from '../shared/protocol/builder-wire.ts';
import type { ProcessCall } from './tool-process.ts';

export const toolNames = ['buildah', 'podman', 'docker'] as const;
export type ToolName = (typeof toolNames)[number];

/** The folders of one run, as absolute paths. All but `storage` are removed after it. */
export interface RunFolders {
  readonly context: string;
  /** A folder for files that the program writes. */
  readonly scratch: string;
  /** The slot's folder for state such as mount counts. It is emptied between runs. */
  readonly runroot: string;
  /** The slot's base images and layers, which are kept between runs. */
  readonly storage: string;
}

/** Options that every call of the program gets. */
export interface ToolSettings {
  /** A config.json with credentials for registries. */
  readonly authFile: string | undefined;
  /** Folder of *.crt, *.cert and *.key for registries. */
  readonly certificates: string | undefined;
  /** The generated file of registries-conf.ts. */
  readonly registriesConf: string | undefined;
  readonly isolation: 'oci' | 'rootless' | 'chroot';
  /** The builder's environment. The program gets it without Holdfast's own variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface Tool {
  readonly name: ToolName;
  build(meta: BuildMeta, folders: RunFolders): ProcessCall;
  push(meta: BuildMeta, folders: RunFolders): ProcessCall;
  /** Reads the digest after a successful push. @param lines is the output of the push. @returns undefined if it is unknown. */
  digest(folders: RunFolders, lines: readonly string[]): Promise<string | undefined>;
  /** Removes what a run has left, except the cache. */
  cleanUp(meta: BuildMeta, folders: RunFolders): ProcessCall;
  /** Empties `RunFolders.storage`. It is missing if a daemon does the work and keeps its own storage. */
  prune?(folders: RunFolders): ProcessCall;
}

/** Build options of the command line. Values of secret arguments are in the environment, since everyone on the machine can read command lines. */
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

/** Variables by which git, ssh and tar run commands: the program itself, not the container, does an ADD of a repository or archive. */
const reservedOfHelpers =
  /^(GIT_(SSH|SSH_COMMAND|SSH_VARIANT|ASKPASS|CONFIG|CONFIG_.*|EXEC_PATH|PROXY_COMMAND|TEMPLATE_DIR|EXTERNAL_DIFF|EDITOR|PAGER|ALLOW_PROTOCOL|DIR|WORK_TREE|TRACE.*|SSL_.*)|SSH_ASKPASS.*|SSH_AUTH_SOCK|EDITOR|PAGER|TAR_OPTIONS)$/;

/** Variables that the programs themselves, the dynamic loader or the Go runtime read. */
const reserved =
  /^(PATH|HOME|USER|SHELL|PWD|TMPDIR|IFS|ENV|BASH_ENV|REGISTRY_AUTH_FILE|(LD|DYLD|GO|XDG|DOCKER|BUILDKIT|BUILDX|BUILDAH|PODMAN|CONTAINERS?|STORAGE|SSL_CERT|DBUS|NOTIFY|_CONTAINERS|HOLDFAST)[A-Z0-9_]*|GLIBC_.*|MALLOC_.*)$/;

/** @returns the first secret argument whose name must not be set in a program's environment. */
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
    // Temporary blobs are large, and a program that is killed leaves them behind.
    TMPDIR: folders.scratch,
    ...(registriesConf === undefined ? {} : { CONTAINERS_REGISTRIES_CONF: registriesConf }),
  };
}
