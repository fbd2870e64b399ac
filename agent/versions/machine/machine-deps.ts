/** What the machine of an app needs of the agent around it, and what it is asked. */
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Log } from '../../../shared/log.ts';
import type { AppConfig } from '../../../shared/protocol/app-config.ts';
import type { Route, StartTimings } from '../../../shared/protocol/routes.ts';
import type { Platform } from '../../platform/platform.ts';
import type { Settlement } from '../../routes/hub.ts';
import type { Released } from '../../routes/router-links.ts';
import type { Outbox } from '../../store/outbox.ts';
import type { VersionMetrics } from '../version-metrics.ts';
import type { Unreported } from '../activity.ts';
import type { KeepAwake } from './keep-awake.ts';
import type { ProgressListener } from './start-job.ts';
import type { Starter } from './wakes.ts';

export interface MachineDeps {
  readonly platform: Platform;
  readonly publish: (route: Route) => number;
  readonly settled: (revision: number, countUnknown: boolean, signal: AbortSignal) => Promise<Settlement>;
  /** Whether that holds still. */
  readonly isSettled: (revision: number) => boolean;
  /** What routers still have on these targets after at most `waitMs`. */
  readonly release: (app: string, targets: readonly string[], waitMs: number, signal: AbortSignal) => Promise<Released>;
  /** By what routers tell. */
  readonly isIdle: (app: string, unreported?: Unreported) => boolean;
  readonly keepAwake: KeepAwake;
  /** Something has changed: the app is to be looked at (`look`). */
  readonly onChange: (app: string) => void;
  readonly outbox: Pick<Outbox, 'add'>;
  readonly defaults: AppConfig;
  readonly metrics: VersionMetrics;
  readonly clock: Clock;
  readonly log: Log;
}

export interface EnsureRequest {
  readonly version: number | undefined;
  readonly suspects: readonly string[];
  /** Who asks; undefined: the agent itself. */
  readonly by?: Starter;
  readonly onProgress: ProgressListener;
  readonly signal: AbortSignal;
}

export interface EnsureResult {
  readonly version: number;
  readonly targets: number;
  readonly timings: StartTimings;
}
