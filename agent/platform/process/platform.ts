/**
 * The embedded platform: an app is a child process, or several, on free loopback ports, run from a snapshot of its source.
 * For a laptop and for tests; `cpus` and `memory` are not enforced, and a volume is a folder whose path the app is
 * told as HOLDFAST_VOLUME_<NAME>. Needs a POSIX system.
 */
import { EventEmitter } from 'node:events';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Log } from '../../../shared/log.ts';
import type { Target } from '../../../shared/protocol/routes.ts';
import type { Sources } from '../../source/sources.ts';
import { Asking } from '../asking.ts';
import { noPin, type Platform } from '../platform.ts';
import { LogRing } from './log-ring.ts';
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
  /** Of git and uploads; without them only folders can be run. */
  readonly sources?: Sources;
  /** The Node.js program that apps run with. */
  readonly nodePath: string;
  /** The environment of the agent. Apps get PATH, HOME and the like from it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly limits?: Partial<VersionLimits>;
  /** How long installing what a source needs may take. */
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
/** Of all that still runs when the agent closes. */
const closeGraceMs = 5_000;

/** @throws AppError config_invalid when the data folder cannot be used. */
export async function createProcessPlatform(deps: ProcessPlatformDeps): Promise<Platform> {
  const { log, nodePath, env, clock } = deps;
  const dataDir = resolve(deps.dataDir);
  const limits = { ...defaultLimits, ...deps.limits };
  const volumesDir = join(dataDir, 'volumes');
  try {
    await mkdir(dataDir, { recursive: true });
    // An app without a package.json is not read by that of a folder above the data (`"type": "module"` in a checkout).
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
  });
  const asking = new Asking(clock);
  const ports = createPorts();
  const apps = new Map<string, Map<number, VersionProcesses>>();
  const rings = new Map<string, LogRing>();
  const changes = new EventEmitter<{ targets: [app: string, version: number] }>().setMaxListeners(0);
  let closed = false;

  function ringOf(app: string): LogRing {
    let ring = rings.get(app);
    if (ring === undefined) rings.set(app, (ring = new LogRing()));
    return ring;
  }

  function versionOf(app: string, version: number): VersionProcesses {
    let versions = apps.get(app);
    if (versions === undefined) apps.set(app, (versions = new Map()));
    let processes = versions.get(version);
    if (processes === undefined) {
      processes = new VersionProcesses({
        app,
        version,
        ring: ringOf(app),
        limits,
        asking,
        ports,
        runFiles,
        prepare,
        onTargets: () => changes.emit('targets', app, version),
        onError: (error) => log.warn({ err: error, app, version }, 'a process could not be started'),
      });
      versions.set(version, processes);
    }
    return processes;
  }

  const folders = createSourceFolders({ snapshots, use, sources: deps.sources });
  const prepare = createPrepare({
    folders,
    installed,
    volumesDir,
    nodePath,
    env,
    onLine: ({ app, version }, line) => ringOf(app).push({ instance: 'install', version, line }),
    async endOthers(run, signal) {
      for (const [version, other] of apps.get(run.app) ?? []) {
        if (version === run.version) await other.settled();
        else await other.stop({ graceMs: limits.stopGraceMs, signal });
      }
    },
  });

  async function discardVersion(app: string, version: number, signal: AbortSignal): Promise<void> {
    const processes = apps.get(app)?.get(version);
    await processes?.stop({ graceMs: limits.stopGraceMs, signal });
    if (apps.get(app)?.get(version) === processes) apps.get(app)?.delete(version);
    use.drop(app, version);
  }

  async function removeApp(app: string, signal: AbortSignal): Promise<string[]> {
    const versions = [...(apps.get(app) ?? [])];
    const removed = versions.flatMap(([, processes]) => processes.ids().map((id) => `Process/${id}`));
    await Promise.all(versions.map(([version]) => discardVersion(app, version, signal)));
    apps.delete(app);
    use.dropApp(app);
    rings.get(app)?.close();
    rings.delete(app);
    return removed;
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

    // There is no image: what is built stays in this agent's data folder, and is looked for at each start.
    async prepare(run, options) {
      if (closed) throw new AppError('platform_error', 'the agent is shutting down', { phase: 'build' });
      await prepare.install(run, options);
      return run.pin;
    },

    async start(run, options) {
      if (closed) throw new AppError('platform_error', 'the agent is shutting down', { phase: 'start' });
      await versionOf(run.app, run.version).start(run, options);
    },

    targets(app, version): readonly Target[] {
      return apps.get(app)?.get(version)?.targets() ?? [];
    },

    mayRun: (app, version) => (apps.get(app)?.get(version)?.ids().length ?? 0) > 0,

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

    // There is no address but that of each process.
    async switchTo() {},

    async stop(app, version, signal) {
      await apps.get(app)?.get(version)?.stop({ graceMs: limits.stopGraceMs, signal });
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
      const wanted = new Map<string, Set<number>>();
      for (const { app, version } of runs) wanted.set(app, (wanted.get(app) ?? new Set()).add(version));
      for (const [app, versions] of apps) {
        if (!wanted.has(app)) await removeApp(app, signal);
        else
          for (const version of versions.keys())
            if (wanted.get(app)?.has(version) !== true) await discardVersion(app, version, signal);
      }
      const own = [...apps.values()].flatMap((versions) =>
        [...versions.values()].flatMap((processes) => processes.ids()),
      );
      const killed = await runFiles.killLeftovers(new Set(own));
      if (killed.length > 0) log.warn({ killed }, 'killed processes that an agent before this one left behind');
      await prune();
    },

    async *logs(query, signal) {
      const { app, version, tail, follow } = query;
      if (follow && !closed) yield* ringOf(app).follow(tail, { version }, signal);
      else yield* rings.get(app)?.last(tail, { version }) ?? [];
    },

    async close() {
      closed = true;
      await installed.close();
      const all = [...apps.values()].flatMap((versions) => [...versions.values()]);
      await Promise.all(all.map((processes) => processes.stop({ graceMs: closeGraceMs })));
      for (const ring of rings.values()) ring.close();
      changes.removeAllListeners();
    },
  };
}
