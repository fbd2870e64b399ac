/**
 * The embedded platform: an app is one or several child processes on free loopback ports, run from a snapshot of its source. For a laptop
 * and for tests: `cpus` and `memory` are not enforced, and a volume is a folder whose path the app gets as HOLDFAST_VOLUME_<NAME>.
 * Needs a POSIX system.
 */
import { EventEmitter } from 'node:events';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Log } from '../../../shared/log.ts';
import type { AppSpec } from '../../../shared/protocol/app-spec.ts';
import type { Target } from '../../../shared/protocol/routes.ts';
import type { LogLine } from '../../../shared/protocol/views.ts';
import type { Sources } from '../../source/sources.ts';
import { Probing } from '../probing.ts';
import {
  type FoundPin,
  noPin,
  type Pin,
  type Platform,
  type PrepareOptions,
  type StartOptions,
  type VersionRun,
} from '../platform.ts';
import { ProcessApps } from './apps.ts';
import { ofVersion } from './log-ring.ts';
import { createInstalled, type Installed } from './installed.ts';
import { createPorts } from './ports.ts';
import { createPrepare, type Prepare } from './prepare.ts';
import { createRunFiles, type RunFiles } from './run-files.ts';
import { createSnapshots, type Snapshots } from './snapshot.ts';
import { createSourceFolders, snapshotId, type SourceFolders } from './source-folder.ts';
import { SourceUse } from './source-use.ts';
import { VersionProcesses, type VersionLimits } from './version.ts';

export interface ProcessPlatformDeps {
  /** Holds sources/, installed/, volumes/, run/ and tmp/ (TMPDIR of apps); belongs to one agent at a time. */
  readonly dataDir: string;
  readonly log: Log;
  /** Git repositories and uploads; without them only folders can be run. */
  readonly sources?: Sources;
  /** The Node.js program that apps run with. */
  readonly nodePath: string;
  /** The environment of the agent. Apps get PATH, HOME and the like from it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly limits?: Partial<VersionLimits>;
  /** Bounds the installation of what a source needs. */
  readonly installTimeoutMs?: number;
}

const defaultLimits: VersionLimits = {
  restartMinMs: 100,
  restartMaxMs: 10_000,
  steadyMs: 10_000,
  stopGraceMs: 10_000,
  cancelGraceMs: 2_000,
};
const defaultInstallTimeoutMs = 10 * 60_000;
/** Time from SIGTERM to SIGKILL when the agent stops. */
const closeGraceMs = 5_000;

/** @throws AppError config_invalid when the data folder cannot be used. */
export async function createProcessPlatform(deps: ProcessPlatformDeps): Promise<Platform> {
  const { log, nodePath, clock } = deps;
  const dataDir = resolve(deps.dataDir);
  const temporaryDir = join(dataDir, 'tmp');
  const env = { ...deps.env, TMPDIR: temporaryDir };
  const limits = { ...defaultLimits, ...deps.limits };
  const volumesDir = join(dataDir, 'volumes');
  try {
    // Tools leave files in their temporary folder, and an earlier agent may have been killed.
    await rm(temporaryDir, { recursive: true, force: true });
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await mkdir(temporaryDir, { recursive: true });
    // Without it, an app that has no package.json would get the one of a folder above the data (`"type": "module"` in a checkout).
    await writeFile(join(dataDir, 'package.json'), '{}\n');
  } catch (error) {
    throw new AppError('config_invalid', `system.data_dir: ${dataDir} cannot be made or written`, { cause: error });
  }
  const use = new SourceUse();
  const snapshots = await createSnapshots({
    folder: join(dataDir, 'sources'),
    dataDir,
    onTaken: (digest) => use.claim(digest),
  });
  const runFiles = createRunFiles({ folder: join(dataDir, 'run') });
  const installed = createInstalled({
    folder: join(dataDir, 'installed'),
    runFiles,
    timeoutMs: deps.installTimeoutMs ?? defaultInstallTimeoutMs,
    clock,
  });
  const folders = createSourceFolders({ snapshots, use, sources: deps.sources });
  const ports = createPorts();
  const prepare = createPrepare({
    folders,
    installed,
    volumesDir,
    nodePath,
    env,
    onLine: ({ app, version }, line) => apps.ring(app).push({ instance: 'install', version, line }),
    portHolder: (port) => ports.heldBy(port),
    endOthers: ({ app, version }, signal) => apps.endOthers(app, version, signal),
  });
  const changes: Changes = new EventEmitter<{ targets: [app: string, version: number] }>().setMaxListeners(0);
  const ofAll = { limits, probing: new Probing(clock), ports, runFiles, prepare, clock };
  const apps: ProcessApps = new ProcessApps({
    stopGraceMs: limits.stopGraceMs,
    create: (app, version, ring) =>
      new VersionProcesses({
        ...ofAll,
        app,
        version,
        ring,
        onTargets: () => changes.emit('targets', app, version),
        onError: (error) => log.warn({ err: error, app, version }, 'could not start a process'),
      }),
  });
  const { stopGraceMs } = limits;
  return new ProcessPlatform({
    apps,
    changes,
    folders,
    prepare,
    installed,
    snapshots,
    use,
    runFiles,
    volumesDir,
    stopGraceMs,
    log,
  });
}

type Changes = EventEmitter<{ targets: [app: string, version: number] }>;

interface Parts {
  readonly apps: ProcessApps;
  readonly changes: Changes;
  readonly folders: SourceFolders;
  readonly prepare: Prepare;
  readonly installed: Installed;
  readonly snapshots: Snapshots;
  readonly use: SourceUse;
  readonly runFiles: RunFiles;
  readonly volumesDir: string;
  readonly stopGraceMs: number;
  readonly log: Log;
}

class ProcessPlatform implements Platform {
  readonly name = 'process';
  readonly #parts: Parts;
  #closed = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async pin(spec: AppSpec, signal: AbortSignal): Promise<FoundPin> {
    const { folders, log } = this.#parts;
    const { digest, summary } = await folders.pin(spec, signal);
    if (summary !== undefined) log.info({ app: spec.name, digest, taken: summary }, 'took a snapshot of a folder');
    return { ...noPin, sourceDigest: digest, sourceSummary: summary };
  }

  /** There is no image: what is installed stays in the agent's data folder, where each start finds it. */
  async prepare(run: VersionRun, options: PrepareOptions): Promise<Pin> {
    if (this.#closed) throw new AppError('platform_error', 'the agent is shutting down', { phase: 'build' });
    await this.#parts.prepare.install(run, options);
    return run.pin;
  }

  async start(run: VersionRun, options: StartOptions): Promise<void> {
    if (this.#closed) throw new AppError('platform_error', 'the agent is shutting down', { phase: 'start' });
    await this.#parts.apps.version(run.app, run.version).start(run, options);
  }

  targets(app: string, version: number): readonly Target[] {
    return this.#parts.apps.of(app).get(version)?.targets() ?? [];
  }

  mayRun(app: string, version: number): boolean {
    return (this.#parts.apps.of(app).get(version)?.ids().length ?? 0) > 0;
  }

  onTargets(listener: (app: string, version: number) => void): () => void {
    const { changes, log } = this.#parts;
    const call = (app: string, version: number): void => {
      try {
        listener(app, version);
      } catch (error) {
        log.error({ err: error, app, version }, 'a listener of targets failed');
      }
    };
    changes.on('targets', call);
    return () => changes.off('targets', call);
  }

  /** There is no stable address, only that of each process. */
  async switchTo(): Promise<void> {}

  async stop(app: string, version: number, signal: AbortSignal): Promise<void> {
    const { apps, stopGraceMs: graceMs } = this.#parts;
    await apps.of(app).get(version)?.stop({ graceMs, signal });
  }

  async discard(app: string, version: number, signal: AbortSignal): Promise<void> {
    await this.#discard(app, version, signal);
    await this.#prune();
  }

  async remove(app: string, options: { readonly volumes: boolean; readonly signal: AbortSignal }): Promise<string[]> {
    const removed = await this.#removeApp(app, options.signal);
    removed.push(...(await this.#prune()).map((digest) => `Source/${digest}`));
    if (options.volumes) {
      const folder = join(this.#parts.volumesDir, app);
      for (const name of await readdir(folder).catch(() => [])) removed.push(`Volume/${name}`);
      await rm(folder, { recursive: true, force: true });
    }
    return removed;
  }

  async adopt(runs: readonly VersionRun[], signal: AbortSignal): Promise<void> {
    const { apps, use, runFiles, log } = this.#parts;
    for (const run of runs) {
      const id = snapshotId(run.spec, run.pin.sourceDigest);
      if (id !== null) use.adopt(run.app, run.version, id);
    }
    const wanted = new Set(runs.map(({ app, version }) => `${app} ${version}`));
    for (const app of apps.names) {
      if (!runs.some((run) => run.app === app)) await this.#removeApp(app, signal);
      for (const version of apps.of(app).keys())
        if (!wanted.has(`${app} ${version}`)) await this.#discard(app, version, signal);
    }
    const own = apps.all.flatMap((processes) => processes.ids());
    const killed = await runFiles.killLeftovers(new Set(own));
    if (killed.length > 0) log.warn({ killed }, 'killed processes that an earlier agent left behind');
    await this.#prune();
  }

  async *logs(query: Parameters<Platform['logs']>[0], signal: AbortSignal): AsyncGenerator<LogLine> {
    const { app, version, tail, follow } = query;
    const ring = this.#parts.apps.ring(app);
    const matches = ofVersion(version);
    if (follow && !this.#closed) yield* ring.follow(tail, signal, matches);
    else yield* ring.last(tail, { matches });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const { apps, changes, installed } = this.#parts;
    await installed.close();
    await apps.close(closeGraceMs);
    changes.removeAllListeners();
  }

  async #discard(app: string, version: number, signal: AbortSignal): Promise<void> {
    await this.#parts.apps.discard(app, version, signal);
    this.#parts.use.drop(app, version);
  }

  async #removeApp(app: string, signal: AbortSignal): Promise<string[]> {
    const { apps, use } = this.#parts;
    const ids = [...apps.of(app).values()].flatMap((processes) => processes.ids());
    await apps.remove(app, signal);
    use.dropApp(app);
    return ids.map((id) => `Process/${id}`);
  }

  /** Removes the snapshots, and their installed copies, that no version needs. */
  async #prune(): Promise<string[]> {
    const { installed, snapshots, use } = this.#parts;
    await installed.prune((digest) => use.needs(digest));
    return await snapshots.prune((digest) => use.needs(digest));
  }
}
