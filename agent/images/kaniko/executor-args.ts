/** The command line of the Kaniko executor: documented flags only. Secret values are never in it. */
import type { AgentConfig } from '../../config/config.ts';
import type { BuildRequest } from '../builder.ts';

/**
 * The volume of the context, in the executor's container, and the tree in it. Below /kaniko, where the executor itself unpacks contexts: what is
 * mounted is left out of images, so a volume at /workspace would take their /workspace from images that have one.
 */
export const contextVolumeFolder = '/kaniko/buildcontext';
export const treeName = 'tree';
const contextFolder = `${contextVolumeFolder}/${treeName}`;
/** Where files of the build's Secret are mounted. */
export const dockerConfigFolder = '/kaniko/.docker';
export const registryFilesFolder = '/kaniko/registry';
export const terminationLog = '/dev/termination-log';

/** Tries of the executor itself, with pauses of 1, 2, 4 … s. A base image that is not there is asked for again too, so few. */
const pushRetries = 4;
const downloadRetries = 1;

type ArgsConfig = Pick<AgentConfig, 'builder' | 'registry'>;

export function executorArgs(
  request: Omit<BuildRequest, 'tree' | 'extraFiles'>,
  { builder, registry }: ArgsConfig,
  files: { readonly ca: boolean; readonly clientCert: boolean },
): string[] {
  const host = registry.url ?? '';
  const insecure = [...(registry.insecure ? [host] : []), ...builder.insecure_registries];
  const given = { ...builder.args, ...request.args };
  return [
    `--context=dir://${contextFolder}`,
    // Absolute: a relative path is first looked for in the working folder, where another file may have that name.
    `--dockerfile=${contextFolder}/${request.dockerfile}`,
    `--destination=${request.image}`,
    ...Object.entries(given)
      .filter(([name]) => !Object.hasOwn(request.secretArgs, name))
      .map(([name, value]) => `--build-arg=${name}=${value}`),
    // Without a value the executor takes it from its environment, which comes from a Secret.
    ...Object.keys(request.secretArgs).map((name) => `--build-arg=${name}`),
    ...(request.target === undefined ? [] : [`--target=${request.target}`]),
    ...(builder.cache ? ['--cache=true', `--cache-repo=${host}/${registry.project}/cache`] : []),
    ...builder.registry_mirrors.map((mirror) => `--registry-mirror=${mirror}`),
    // --insecure is for pushes, which go to this one registry; pulls by plain HTTP only from the registries that are named.
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
    // It finds out that it runs in a container by a service account token or by names of cgroups; there may be neither.
    '--force',
  ].map(literal);
}

/** Kubernetes expands `$(NAME)` in arguments; `$$` is a plain dollar. https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/ */
function literal(argument: string): string {
  return argument.replaceAll('$', '$$$$');
}
