/** The parts of an agent that exist only while it leads. They are built for each new epoch, and closed when the lead is lost. */
import { resolve } from 'node:path';
import type { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { AgentConfig } from '../config/config.ts';
import type { Lead } from '../handlers/handler-deps.ts';
import type { Platform } from '../platform/platform.ts';
import { RouteHub } from '../routes/hub.ts';
import { createRouterLinks } from '../routes/router-links.ts';
import type { Sources } from '../source/sources.ts';
import { sourceLimits } from '../source/create-sources.ts';
import { LiveFolders } from '../source/live-folders.ts';
import { Sync } from '../source/sync.ts';
import { createOutbox } from '../store/outbox.ts';
import { ActivityLog } from '../versions/activity.ts';
import { Engine } from '../versions/engine.ts';
import type { VersionMetrics } from '../versions/machine/machine-deps.ts';
import { createKeepAwake } from '../versions/plan/keep-awake.ts';
import { createSyncEngine } from '../versions/sync-engine.ts';
import { startHourly } from './hourly.ts';
import type { Stores } from './stores.ts';

export interface Leadership extends Lead {
  readonly engine: Engine;
  /** Records that are not written to Postgres yet. */
  readonly outboxSize: () => number;
  close(): Promise<void>;
}

interface LeadershipDeps {
  readonly config: Pick<AgentConfig, 'app_config' | 'kubernetes' | 'source' | 'system'>;
  readonly stores: Pick<Stores, 'apps' | 'uploads' | 'audit'>;
  readonly platform: Platform;
  readonly sources: Pick<Sources, 'resolve'>;
  readonly metrics: VersionMetrics;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when a write to Postgres is refused because another agent leads. */
  readonly onFenced: (error: AppError) => void;
}

/** Begins a new epoch and takes over what runs. @throws AppError store_unavailable, platform_error: try again. */
export async function takeLead(deps: LeadershipDeps, signal: AbortSignal): Promise<Leadership> {
  const { config, stores, platform, sources, metrics, clock, log, onFenced } = deps;
  const epoch = await stores.apps.takeLead(config.kubernetes.pod_name);
  const outbox = createOutbox({ store: stores.apps, epoch, clock, log, onFenced });
  const hub = new RouteHub({ clock, leaseMs: config.system.router_lease_secs * 1_000, log });
  const links = createRouterLinks({ log });
  const activity: ActivityLog = new ActivityLog({
    now: () => clock.nowMs(),
    ruleOf: (app) => engine.idleRule(app),
  });
  hub.onGone((router) => activity.forget(router));
  const wallMs = (): number => Date.now();
  const engine: Engine = new Engine({
    platform,
    store: stores.apps,
    outbox,
    epoch,
    hub,
    links,
    activity,
    keepAwake: createKeepAwake(wallMs),
    defaults: config.app_config,
    metrics,
    clock,
    wallMs,
    log,
    onFenced,
  });
  const closeEngine = async (): Promise<void> => {
    await engine.close();
    hub.close();
    await outbox.close();
  };
  try {
    await engine.start(signal);
  } catch (error) {
    await closeEngine();
    throw error;
  }
  const syncEngine = createSyncEngine({ engine, outbox });
  const intervalMs = config.source.sync_interval_secs * 1_000;
  const sync = new Sync({ engine: syncEngine, sources, clock, intervalMs, log });
  const limits = sourceLimits(config.source);
  const dataDir = resolve(config.system.data_dir);
  const isWatching = config.source.watch_folders && platform.name === 'process';
  const folders = isWatching ? new LiveFolders({ engine: syncEngine, dataDir, limits, clock, log }) : undefined;
  const { audit_keep_days: keepDays } = config.system;
  const upkeep = [
    startHourly({ what: 'old uploads', prune: () => stores.uploads.prune(), clock, log }),
    startHourly({ what: 'old entries of the audit', prune: () => stores.audit.prune(keepDays), clock, log }),
  ];
  const close = async (): Promise<void> => {
    // A declaration by sync may wait for routers until the engine closes, so both are closed together.
    const ended = Promise.all([sync.close(), folders?.close(), ...upkeep.map((one) => one.close())]);
    await closeEngine();
    await ended;
  };
  log.info({ epoch, apps: engine.machines().length }, 'leads');
  return { epoch, engine, hub, links, activity, sync, outboxSize: () => outbox.size, close };
}
