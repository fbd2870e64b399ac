/** What an agent holds while it leads, from the new epoch to the loss of the lease. Built anew each time. */
import type { AppError } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import type { AppConfig } from '../shared/protocol/app-config.ts';
import type { Clock } from '../shared/wait/clock.ts';
import type { Platform } from './platform/platform.ts';
import { createRouteHub, type RouteHub } from './routes/hub.ts';
import { createRouterLinks, type RouterLinks } from './routes/router-links.ts';
import type { Sources } from './source/sources.ts';
import { createSyncEngine } from './versions/sync-engine.ts';
import { createSync, type Sync, type SyncEngine } from './source/sync.ts';
import { startUploadUpkeep } from './source/upload-upkeep.ts';
import type { AppStore } from './store/app-store.ts';
import { createOutbox } from './store/outbox.ts';
import type { UploadStore } from './store/upload-store.ts';
import type { VersionMetrics } from './versions/version-metrics.ts';
import { createActivityLog, type ActivityLog } from './versions/activity.ts';
import { Engine } from './versions/engine.ts';
import { createKeepAwake } from './versions/machine/keep-awake.ts';

export interface Leadership {
  readonly epoch: number;
  readonly engine: Engine;
  readonly hub: RouteHub;
  readonly links: RouterLinks;
  readonly activity: ActivityLog;
  readonly sync: Sync;
  /** The apps as syncing sees them. */
  readonly syncEngine: Pick<SyncEngine, 'apps'>;
  readonly outboxSize: () => number;
  close(): Promise<void>;
}

interface LeadershipDeps {
  readonly store: AppStore;
  readonly platform: Platform;
  readonly sources: Pick<Sources, 'resolve'>;
  readonly uploads: Pick<UploadStore, 'prune'>;
  /** How often apps with auto_sync are looked at. */
  readonly syncIntervalMs: number;
  readonly defaults: AppConfig;
  readonly holder: string;
  readonly routerLeaseMs: number;
  readonly metrics: VersionMetrics;
  readonly clock: Clock;
  readonly log: Log;
  /** Another agent leads already, says Postgres. */
  readonly onFenced: (error: AppError) => void;
}

/** @throws AppError store_unavailable, platform_error: try again. */
export async function takeLead(deps: LeadershipDeps, signal: AbortSignal): Promise<Leadership> {
  const { store, platform, sources, defaults, clock, log, onFenced } = deps;
  const epoch = await store.takeLead(deps.holder);
  const outbox = createOutbox({ store, epoch, clock, log, onFenced });
  const hub = createRouteHub({ clock, leaseMs: deps.routerLeaseMs, log });
  const links = createRouterLinks({ log });
  const activity: ActivityLog = createActivityLog({
    now: () => clock.nowMs(),
    ruleOf: (app) => engine.idleRule(app),
  });
  hub.onGone((router) => activity.forget(router));
  const wallMs = (): number => Date.now();
  const keepAwake = createKeepAwake(wallMs);
  const parts = { platform, store, outbox, hub, links, activity, keepAwake, metrics: deps.metrics };
  const engine: Engine = new Engine({ ...parts, epoch, defaults, clock, wallMs, log, onFenced });
  const closeParts = async (): Promise<void> => {
    await engine.close();
    hub.close();
    await outbox.close();
  };
  try {
    await engine.start(signal);
  } catch (error) {
    await closeParts();
    throw error;
  }
  const syncEngine = createSyncEngine({ engine, outbox });
  const sync = createSync({ engine: syncEngine, sources, clock, intervalMs: deps.syncIntervalMs, log });
  const upkeep = startUploadUpkeep({ store: deps.uploads, clock, log });
  const close = async (): Promise<void> => {
    // Begun first, and ended by the engine: what syncing declares may wait for routers until then.
    const ended = Promise.all([sync.close(), upkeep.close()]);
    await closeParts();
    await ended;
  };
  log.info({ epoch, apps: engine.machines().length }, 'leads');
  return { epoch, engine, hub, links, activity, sync, syncEngine, outboxSize: () => outbox.size, close };
}
