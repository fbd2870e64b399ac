/** Builds the parts of a builder from its options, and starts its server. */
import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Clock } from '../shared/wait/clock.ts';
import { Semaphore } from '../shared/wait/semaphore.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import { startBuilderServer, type BuilderServer, type BuilderServerDeps } from './builder-server.ts';
import { createContainersTool } from './containers-tool.ts';
import { createDockerTool } from './docker-tool.ts';
import { writeRegistriesConf } from './registries-conf.ts';
import { findSandbox } from './sandbox.ts';
import { toolNames, type Tool, type ToolName, type ToolSettings } from './tool.ts';

const run = promisify(execFile);

export interface BuilderOptions extends Pick<
  BuilderServerDeps,
  'host' | 'port' | 'token' | 'tls' | 'maxContextBytes' | 'destinations'
> {
  /** If undefined, the first program that is installed. */
  readonly tool: ToolName | undefined;
  /** Absolute path. It is kept between runs, and only one builder may use it at a time. */
  readonly dataFolder: string;
  /** A config.json with credentials for registries. */
  readonly authFile: string | undefined;
  readonly certificates: string | undefined;
  readonly insecure: readonly string[];
  readonly isolation: ToolSettings['isolation'];
  readonly maxConcurrent: number;
  readonly maxQueue: number;
  /** Bound of the unpacked context. */
  readonly maxTreeBytes: number;
  readonly maxFiles: number;
  readonly timeoutMs: number;
  readonly minFreeBytes: number;
}

export interface OpenBuilderDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
  readonly killed: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
}

export interface OpenBuilder extends BuilderServer {
  readonly toolVersion: string;
}

/** @throws AppError config_invalid if no program is installed or the options do not fit it. Rejects if the port is taken. */
export async function openBuilder(options: BuilderOptions, deps: OpenBuilderDeps): Promise<OpenBuilder> {
  const { env, isRoot, killed, clock, log } = deps;
  const { dataFolder, maxConcurrent, maxQueue, timeoutMs, minFreeBytes } = options;
  const { name, version } = await findTool(options.tool, env);
  if (name === 'docker' && (options.insecure.length > 0 || options.certificates !== undefined)) {
    const message = '--insecure-registry and --registry-certs are settings of the docker daemon: set them there';
    throw new AppError('config_invalid', message);
  }
  if (name === 'podman' && longestRunroot(dataFolder) > maxPodmanRunroot) {
    throw new AppError('config_invalid', `podman needs a shorter --data-dir than ${dataFolder}`);
  }
  const storage = join(dataFolder, 'storage');
  await mkdir(storage, { recursive: true, mode: 0o700 });
  // Left by an earlier builder that was killed.
  const work = join(dataFolder, 'w');
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { mode: 0o700 });
  const registriesConf = join(work, 'registries.conf');
  await writeRegistriesConf({ env, insecure: options.insecure, file: registriesConf });
  const { authFile, certificates, isolation } = options;
  const tool = createTool(name, { authFile, certificates, isolation, registriesConf, env });
  // With docker, the daemon does the work, outside any sandbox of ours.
  const prefix = tool.prune === undefined ? [] : await findSandbox(isRoot);
  const limits = { maxBytes: options.maxTreeBytes, maxFiles: options.maxFiles, maxDepth: 128, maxPathBytes: 4_096 };
  const server = await startBuilderServer({
    ...options,
    work,
    admitted: new Semaphore({ places: maxConcurrent + maxQueue }),
    slots: new Semaphore({ places: maxConcurrent }),
    run: { tool, prefix, storage, runroots: work, limits, timeoutMs, minFreeBytes, clock, killed, log },
    clock,
    log,
  });
  return {
    port: server.port,
    toolVersion: version,
    drain: (signal) => server.drain(signal),
    async close() {
      await server.close();
      await rm(work, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

/** Podman's own bound, which keeps the paths of its sockets short enough. */
const maxPodmanRunroot = 50;

function longestRunroot(dataFolder: string): number {
  return join(dataFolder, 'w', 'r000').length;
}

function createTool(name: ToolName, settings: ToolSettings): Tool {
  if (name !== 'docker') return createContainersTool(name, settings);
  const { authFile } = settings;
  if (authFile !== undefined && basename(authFile) !== 'config.json') {
    throw new AppError(
      'config_invalid',
      `docker reads credentials only from a file named config.json, not from ${authFile}`,
    );
  }
  return createDockerTool({ ...settings, configFolder: authFile === undefined ? undefined : dirname(authFile) });
}

async function findTool(
  wanted: ToolName | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<{ readonly name: ToolName; readonly version: string }> {
  const names = wanted === undefined ? toolNames : [wanted];
  for (const name of names) {
    try {
      const { stdout } = await run(name, ['--version'], { env, timeout: 10_000 });
      return { name, version: stdout.trim().split('\n')[0] ?? name };
    } catch (error) {
      if (wanted === undefined) continue;
      throw new AppError('config_invalid', `${name} cannot be run: ${toAppError(error).message}`, { cause: error });
    }
  }
  throw new AppError('config_invalid', `none of ${names.join(', ')} is installed: a builder needs one of them`);
}
