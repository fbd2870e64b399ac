/** The parts of the agent that the machine of an app needs, and the requests that it gets. */
import type { ErrorCode } from '../../../shared/error-codes.ts';
import type { Log } from '../../../shared/log.ts';
import type { AppConfig } from '../../../shared/protocol/app-config.ts';
import type { EnsureProgress } from '../../../shared/protocol/methods.ts';
import type { StartTimings } from '../../../shared/protocol/routes.ts';
import type { WakeCause } from '../../../shared/protocol/wake-cause.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Platform } from '../../platform/platform.ts';
import type { RouteHub } from '../../routes/hub.ts';
import type { Released } from '../../routes/router-links.ts';
import type { Outbox } from '../../store/outbox.ts';
import type { Unreported } from '../activity.ts';
import type { KeepAwake } from '../plan/keep-awake.ts';

export interface MachineDeps {
  readonly platform: Platform;
  readonly hub: Pick<RouteHub, 'publish' | 'settled' | 'settledAtKnown' | 'isSettled'>;
  /** Asks every router what it has on these targets; routers may wait up to `waitMs` for calls to end. */
  readonly release: (app: string, targets: readonly string[], waitMs: number, signal: AbortSignal) => Promise<Released>;
  /** Judged from the routers' reports, and from what they have not reported yet. */
  readonly isIdle: (app: string, unreported?: Unreported) => boolean;
  readonly keepAwake: KeepAwake;
  /** Called when something has changed, so `look` is to be called. */
  readonly onChange: (app: string) => void;
  readonly outbox: Pick<Outbox, 'add'>;
  readonly defaults: AppConfig;
  readonly metrics: VersionMetrics;
  readonly clock: Clock;
  readonly log: Log;
}

export interface VersionMetrics {
  /** A version answers. */
  started(timings: StartTimings): void;
  startFailed(code: ErrorCode): void;
  /**
   * The end of a drain handshake. zero: the app was free and goes to zero · taken_back: a call came · busy: a router has calls of it, or
   * could not be asked.
   */
  drained(result: 'zero' | 'taken_back' | 'busy'): void;
  /** A start from zero: for a call, by a person or a tool, or for a call and refused. */
  wake(result: 'call' | 'person' | 'refused'): void;
}

/** The caller of `ensure`. */
export interface Starter {
  /** The name of the token. */
  readonly actor: string;
  /** True for a router that asks for a call; false for a person or a tool, to which the wake budget does not apply. */
  readonly forCall: boolean;
  /** The call, if the router describes it. */
  readonly cause: WakeCause | undefined;
}

export interface EnsureRequest {
  /** The version that the caller wants; undefined for the one that is to run now. */
  readonly version: number | undefined;
  /** Ids of targets that are said to refuse connections. */
  readonly suspects: readonly string[];
  /** The caller; undefined for the agent itself. */
  readonly by?: Starter;
  readonly onProgress: (progress: EnsureProgress) => void;
  readonly signal: AbortSignal;
}

export interface EnsureResult {
  readonly version: number;
  /** The number of targets that answer. */
  readonly targets: number;
  readonly timings: StartTimings;
}
