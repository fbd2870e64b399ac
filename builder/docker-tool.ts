/** Calls of the docker command. */
import { join } from 'node:path';
import { buildArguments, toolEnvironment, type RunFolders, type Tool, type ToolSettings } from './tool.ts';
import type { ProcessCall } from './tool-process.ts';

/** @param settings.configFolder has the config.json: docker takes its folder, not the file. */
export function createDockerTool(settings: ToolSettings & { readonly configFolder: string | undefined }): Tool {
  const { configFolder } = settings;

  function call(folders: RunFolders, args: readonly string[], env: Readonly<Record<string, string>> = {}): ProcessCall {
    const config = configFolder === undefined ? [] : ['--config', configFolder];
    const plain = { BUILDKIT_PROGRESS: 'plain', DOCKER_CLI_HINTS: 'false' };
    return {
      file: 'docker',
      args: [...config, ...args],
      env: { ...toolEnvironment(settings, folders), ...plain, ...env },
    };
  }

  return {
    name: 'docker',
    build(meta, folders) {
      const dockerfile = join(folders.context, meta.dockerfile);
      const options = ['--force-rm', ...buildArguments(meta), '--tag', meta.image, '--file', dockerfile];
      return call(folders, ['build', ...options, folders.context], meta.secretArgs);
    },
    push: (meta, folders) => call(folders, ['push', meta.image]),
    digest(_folders, lines) {
      // `1.0: digest: sha256:… size: 528`
      const found = lines.findLast((line) => /\bdigest: sha256:[0-9a-f]{64}\b/.test(line));
      return Promise.resolve(/sha256:[0-9a-f]{64}/.exec(found ?? '')?.[0]);
    },
    // Removes the name only: the layers serve the next build, and the daemon's storage is not ours to clear.
    cleanUp: (meta, folders) => call(folders, ['image', 'rm', '--no-prune', meta.image]),
  };
}
