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
import type { Sources } from '../../source/sources.ts';
import { Probing } from '../probing.ts';
import { noPin, type Platform } from '../platform.ts';
import { ProcessApps } from './apps.ts';
import { createInstalled } from './installed.ts';
import { createPorts } from './ports.ts';
import { createPrepare } from './prepare.ts';
import { createRunFiles } from './run-files.ts';
import { createSnapshots } from './snapshot.ts';
import { createSourceFolders, snapshotId } from './source-folder.ts';
import { SourceUse } from './source-use.ts';
import { VersionProcesses, type VersionLimits } from './version.ts';

export interface ProcessPlatformDeps {
  /** Holds sources/, volumes/ and run/; belongs to one agent at a time. */
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
  const { log, nodePath, env, clock } = deps;
  const dataDir = resolve(deps.dataDir);
  const limits = { ...defaultLimits, ...deps.limits };
  const volumesDir = join(dataDir, 'volumes');
  try {
    await mkdir(dataDir, { recursive: true });
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
  const probing = new Probing(clock);
  const ports = createPorts();
  const changes = new EventEmitter<{ targets: [app: string, version: number] }>().setMaxListeners(0);
  const apps = new ProcessApps({
    stopGraceMs: limits.stopGraceMs,
    create: (app, version, ring) =>
      new VersionProcesses({
        app,
        version,
        ring,
        limits,
        probing,
        ports,
        runFiles,
        prepare,
        clock,
        onTargets: () => changes.emit('targets', app, version),
        onError: (error) => log.warn({ err: error, app, version }, 'could not start a process'),
      }),
  });
  let closed = false;

  const folders = createSourceFolders({ snapshots, use, sources: deps.sources });
  const prepare = createPrepare({
    folders,
    installed,
    volumesDir,
    nodePath,
    env,
    onLine: ({ app, version }, line) => apps.ring(app).push({ instance: 'install', version, line }),
    endOthers: ({ app, version }, signal) => apps.endOthers(app, version, signal),
  });

  async function discardVersion(app: string, version: number, signal: AbortSignal): Promise<void> {
    await apps.discard(app, version, signal);
    use.drop(app, version);
  }

  async function removeApp(app: string, signal: AbortSignal): Promise<string[]> {
    const ids = [...apps.of(app).values()].flatMap((processes) => processes.ids());
    await apps.remove(app, signal);
    use.dropApp(app);
    return ids.map((id) => `Process/${id}`);
  }

  async function prune(): Promise<string[]> {
    await installed.prune((digest) => use.needs(digest));
    return snapshots.prune((digest) => use.needs(digest));
  }

  return {
    name: 'process',

    async pin(spec, signal) {
      return { ...noPin, sourceDigest: await folders.pin(spec, signal) };
    },

    // There is no image: what is installed stays in the agent's data folder, where each start finds it.
    async prepare(run, options) {
      if (closed) throw new AppError('platform_error', 'the agent is shutting down', { phase: 'build' });
      await prepare.install(run, options);
      return run.pin;
    },

    async start(run, options) {
      if (closed) throw new AppError('platform_error', 'the agent is shutting down', { phase: 'start' });
      await apps.version(run.app, run.version).start(run, options);
    },

    targets: (app, version) => apps.of(app).get(version)?.targets() ?? [],

    mayRun: (app, version) => (apps.of(app).get(version)?.ids().length ?? 0) > 0,

    onTargets(listener) {
      const call = (app: string, version: number): void => {
        try {
          listener(app, version);
        } catch (error) {
          log.error({ err: error, app, version }, 'a listener of targets failed');
        }
      };
      changes.on('targets', call);
      return () => changes.off('targets', call);
    },

    // There is no stable address, only that of each process.
    async switchTo() {},

    async stop(app, version, signal) {
      await apps.of(app).get(version)?.stop({ graceMs: limits.stopGraceMs, signal });
    },

    async discard(app, version, signal) {
      await discardVersion(app, version, signal);
      await prune();
    },

    async remove(app, options) {
      const removed = await removeApp(app, options.signal);
      removed.push(...(await prune()).map((digest) => `Source/${digest}`));
      if (options.volumes) {
        const folder = join(volumesDir, app);
        for (const name of await readdir(folder).catch(() => [])) removed.push(`Volume/${name}`);
        await rm(folder, { recursive: true, force: true });
      }
      return removed;
    },

    async adopt(runs, signal) {
      for (const run of runs) {
        const id = snapshotId(run.spec, run.pin.sourceDigest);
        if (id !== null) use.adopt(run.app, run.version, id);
      }
      const wanted = new Set(runs.map(({ app, version }) => `${app} ${version}`));
      for (const app of apps.names) {
        if (!runs.some((run) => run.app === app)) await removeApp(app, signal);
        for (const version of apps.of(app).keys())
          if (!wanted.has(`${app} ${version}`)) await discardVersion(app, version, signal);
      }
      const own = apps.all.flatMap((processes) => processes.ids());
      const killed = await runFiles.killLeftovers(new Set(own));
      if (killed.length > 0) log.warn({ killed }, 'killed processes that an earlier agent left behind');
      await prune();
    },

    async *logs(query, signal) {
      const { app, version, tail, follow } = query;
      if (follow && !closed) yield* apps.ring(app).follow(tail, { version }, signal);
      else yield* apps.ring(app).last(tail, { version });
    },

    async close() {
      closed = true;
      await installed.close();
      await apps.close(closeGraceMs);
      changes.removeAllListeners();
    },
  };
}
