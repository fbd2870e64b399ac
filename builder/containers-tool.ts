/** Calls of buildah and podman, which share libraries and options. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuildMeta } from '../shared/protocol/builder-wire.ts';
import { buildArguments, toolEnvironment, type RunFolders, type Tool, type ToolSettings } from './tool.ts';
import type { ProcessCall } from './tool-process.ts';

export function createContainersTool(name: 'buildah' | 'podman', settings: ToolSettings): Tool {
  const { authFile, certificates, isolation } = settings;
  const registryOptions = [
    ...(authFile === undefined ? [] : ['--authfile', authFile]),
    ...(certificates === undefined ? [] : ['--cert-dir', certificates]),
  ];

  function call(folders: RunFolders, args: readonly string[], env: Readonly<Record<string, string>> = {}): ProcessCall {
    const roots = ['--root', folders.storage, '--runroot', folders.runroot];
    // Keeps podman from sharing state between slots.
    if (name === 'podman') roots.push('--tmpdir', join(folders.runroot, 't'));
    return { file: name, args: [...roots, ...args], env: { ...toolEnvironment(settings, folders), ...env } };
  }

  return {
    name,
    build(meta, folders) {
      const hasSecrets = Object.keys(meta.secretArgs).length > 0;
      const options = [
        `--isolation=${isolation}`,
        // The OCI format cannot express SHELL and HEALTHCHECK.
        '--format=docker',
        '--force-rm',
        // The history of layers, which is pushed, has the values of arguments.
        ...(hasSecrets ? ['--layers=false', '--omit-history'] : ['--layers=true']),
        ...registryOptions,
        ...buildArguments(meta),
        `--tag=${meta.image}`,
        `--file=${join(folders.context, meta.dockerfile)}`,
      ];
      return call(folders, ['build', ...options, folders.context], meta.secretArgs);
    },
    push(meta, folders) {
      const options = [...registryOptions, '--digestfile', digestFile(folders)];
      return call(folders, ['push', ...options, meta.image, `docker://${meta.image}`]);
    },
    async digest(folders) {
      return (await readFile(digestFile(folders), 'utf8')).trim();
    },
    cleanUp(_meta: BuildMeta, folders) {
      return call(folders, name === 'buildah' ? ['rm', '--all'] : ['system', 'prune', '--external', '--force']);
    },
    prune: (folders) => call(folders, ['rmi', '--all', '--force']),
  };
}

function digestFile({ scratch }: RunFolders): string {
  return join(scratch, 'digest');
}
