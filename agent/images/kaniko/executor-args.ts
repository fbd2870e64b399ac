/** The command line of the Kaniko executor. It has documented flags only, and no secret values. */
import type { AgentConfig } from '../../config/config.ts';
import type { BuildRequest } from '../builder.ts';

/**
 * Where the executor's container mounts the volume of the context. It is below /kaniko, where the executor itself unpacks contexts:
 * mounted folders are left out of images, so a volume at /workspace would remove the /workspace of images that have one.
 */
export const contextVolumeFolder = '/kaniko/buildcontext';
export const treeName = 'tree';
const contextFolder = `${contextVolumeFolder}/${treeName}`;
/** Where the files of the build's Secret are mounted. */
export const dockerConfigFolder = '/kaniko/.docker';
export const registryFilesFolder = '/kaniko/registry';
export const terminationLog = '/dev/termination-log';

/** Retries of the executor itself, with pauses of 1, 2, 4 … s. They are few, because it also retries for a missing base image. */
const pushRetries = 4;
const downloadRetries = 1;

type ArgsConfig = Pick<AgentConfig, 'builder' | 'registry'> & Partial<Pick<AgentConfig, 'registries'>>;

export function executorArgs(
  request: Omit<BuildRequest, 'tree' | 'extraFiles'>,
  { builder, registry, registries = [] }: ArgsConfig,
  files: { readonly ca: boolean; readonly clientCert: boolean },
): string[] {
  const host = registry.url ?? '';
  const further = registries.filter((one) => one.insecure).map((one) => one.host);
  const insecure = [...(registry.insecure ? [host] : []), ...further, ...builder.insecure_registries];
  const given = { ...builder.args, ...request.args };
  return [
    `--context=dir://${contextFolder}`,
    // An absolute path, because the executor looks for a relative one in its working folder first.
    `--dockerfile=${contextFolder}/${request.dockerfile}`,
    `--destination=${request.image}`,
    ...Object.entries(given)
      .filter(([name]) => !Object.hasOwn(request.secretArgs, name))
      .map(([name, value]) => `--build-arg=${name}=${value}`),
    // Without a value here, the executor takes it from its environment, which comes from a Secret.
    ...Object.keys(request.secretArgs).map((name) => `--build-arg=${name}`),
    ...(request.target === undefined ? [] : [`--target=${request.target}`]),
    ...(builder.cache ? ['--cache=true', `--cache-repo=${host}/${registry.project}/cache`] : []),
    ...builder.registry_mirrors.map((mirror) => `--registry-mirror=${mirror}`),
    // --insecure is for pushes, which all go to this registry. Pulls use plain HTTP only with the registries that are named.
    ...(registry.insecure ? ['--insecure'] : []),
    ...[...new Set(insecure)].map((one) => `--insecure-registry=${one}`),
    ...(files.ca ? [`--registry-certificate=${host}=${registryFilesFolder}/ca.crt`] : []),
    ...(files.clientCert
      ? [`--registry-client-cert=${host}=${registryFilesFolder}/client.crt,${registryFilesFolder}/client.key`]
      : []),
    `--digest-file=${terminationLog}`,
    `--push-retry=${String(pushRetries)}`,
    `--image-download-retry=${String(downloadRetries)}`,
    `--label=holdfast.dev/app=${request.app}`,
    // Without --force it looks for a service account token or cgroup names that say it is in a container; there may be neither.
    '--force',
  ].map(literal);
}

/** Kubernetes expands `$(NAME)` in arguments; `$$` is a plain dollar. https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/ */
function literal(argument: string): string {
  return argument.replaceAll('$', '$$$$');
}
