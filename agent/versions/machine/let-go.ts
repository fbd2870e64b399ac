/** The handshake before an idle app goes to zero: no router sends it anything, none has a call of it, none has had one. */
import type { MachineDeps } from './machine-deps.ts';

/** How long routers may take to say that an idle app is free; they know at once, this is for the way. */
const releaseMs = 1_000;

type LetGoDeps = Pick<MachineDeps, 'settled' | 'isSettled' | 'release' | 'isIdle' | 'metrics'>;

interface LetGoRequest {
  readonly app: string;
  /** Ids of what answers. */
  readonly targets: readonly string[];
  /** Of the route by which routers hold the app. */
  readonly revision: number;
  /** False once a call has taken the app back. */
  readonly isMeant: () => boolean;
}

/**
 * Each router first acknowledges that it holds new calls of the app, and then tells what it has of it. One that cannot be
 * asked, or that came only now and does not hold yet, may have anything: the app stays awake then.
 * @returns whether the app is free. @throws the reason of the signal.
 */
export async function letGo(deps: LetGoDeps, request: LetGoRequest, signal: AbortSignal): Promise<boolean> {
  const isFree = await areFree(deps, request, signal);
  deps.metrics.drained(isFree ? 'zero' : request.isMeant() ? 'busy' : 'taken_back');
  return isFree;
}

async function areFree(
  { settled, isSettled, release, isIdle }: LetGoDeps,
  { app, targets, revision, isMeant }: LetGoRequest,
  signal: AbortSignal,
): Promise<boolean> {
  await settled(revision, true, signal);
  if (!isMeant()) return false;
  const released = await release(app, targets, releaseMs, signal);
  if (!isMeant() || released.left > 0 || released.busy || released.unasked > 0 || !isSettled(revision)) return false;
  // With what routers have not reported yet.
  return isIdle(app, released);
}
