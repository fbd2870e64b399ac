/** The handshakes with all routers before something stops: of an idle app before it goes to zero, and of a version that is no longer served. */
import type { Log } from '../../../shared/log.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import type { Platform } from '../../platform/platform.ts';
import type { MachineDeps } from './machine-deps.ts';

/** Routers answer at once about an idle app; this is for the way there and back. */
const releaseMs = 1_000;
/** The pause before all routers are asked again, where one of them could not be asked. */
const askAgainMs = 200;

type DrainIdleDeps = Pick<MachineDeps, 'hub' | 'release' | 'isIdle' | 'metrics'>;

interface DrainIdleRequest {
  readonly app: string;
  /** Ids of the targets that answer. */
  readonly targets: readonly string[];
  /** The revision of the route that makes routers hold the app. */
  readonly revision: number;
  /** False once a call has taken the app back. */
  readonly isMeant: () => boolean;
}

/**
 * First each router acknowledges that it holds new calls of the app, then it reports what it has of it. A router that cannot be asked, or
 * that came just now and does not hold yet, may have calls: the app stays awake then.
 * @returns whether the app may go to zero. @throws the signal's reason.
 */
export async function drainIdleApp(
  deps: DrainIdleDeps,
  request: DrainIdleRequest,
  signal: AbortSignal,
): Promise<boolean> {
  const isFree = await isFreeEverywhere(deps, request, signal);
  deps.metrics.drained(isFree ? 'zero' : request.isMeant() ? 'busy' : 'taken_back');
  return isFree;
}

async function isFreeEverywhere(
  { hub, release, isIdle }: DrainIdleDeps,
  { app, targets, revision, isMeant }: DrainIdleRequest,
  signal: AbortSignal,
): Promise<boolean> {
  await hub.settled(revision, signal);
  if (!isMeant()) return false;
  const released = await release(app, targets, releaseMs, signal);
  if (!isMeant() || released.left > 0 || released.busy || released.unasked > 0 || !hub.isSettled(revision))
    return false;
  return isIdle(app, released);
}

export interface DrainVersionDeps extends Pick<MachineDeps, 'release'> {
  readonly hub: Pick<MachineDeps['hub'], 'settled' | 'settledAtKnown' | 'isSettled'>;
  readonly platform: Pick<Platform, 'targets'>;
  readonly clock: Clock;
  readonly log: Log;
}

interface DrainVersionRequest {
  readonly app: string;
  readonly version: number;
  /** The revision of a route that does not lead to the version. */
  readonly revision: number;
  /** Time for calls in flight, milliseconds. */
  readonly drainMs: number;
  /** Called when calls are left on the version. It may abort the signal, to have the version served again. */
  readonly onBusy: () => void;
}

/** Resolves when no router sends new calls to the version, and its calls have ended or used up their time. @throws the signal's reason. */
export async function drainVersion(
  { hub, release, platform, clock, log }: DrainVersionDeps,
  { app, version, revision, drainMs, onBusy }: DrainVersionRequest,
  signal: AbortSignal,
): Promise<void> {
  const targetIds = (): string[] => platform.targets(app, version).map(({ id }) => id);
  let endMs: number | undefined;
  for (;;) {
    // Without targets no router can call it, also none that an earlier leader knew.
    await (targetIds().length > 0 ? hub.settled(revision, signal) : hub.settledAtKnown(revision, signal));
    const targets = targetIds();
    if (targets.length === 0) return;
    endMs ??= clock.nowMs() + drainMs;
    const { left, unasked } = await release(app, targets, Math.max(0, endMs - clock.nowMs()), signal);
    signal.throwIfAborted();
    if (left > 0) onBusy();
    signal.throwIfAborted();
    if (left === 0 && unasked === 0 && hub.isSettled(revision)) return;
    if ((left > 0 && unasked === 0) || clock.nowMs() >= endMs) {
      log.info({ app, version, left, unasked }, 'update.drain_secs are over, and calls may still be in flight');
      return;
    }
    await sleep(clock, askAgainMs, signal);
  }
}
