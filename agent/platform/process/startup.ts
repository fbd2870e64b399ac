/** Watches a process that has not answered yet: does it listen somewhere else than on its PORT? */
import { probeOnce } from '../../../shared/net/http-probe.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import { isLoopback, mayServe, type Listener } from '../listening.ts';
import { activityOf } from './sockets.ts';

export interface StartupDeps {
  readonly clock: Clock;
  readonly pid: number;
  /** The port that the process was given. */
  readonly port: number;
  /** The last line that said where the app listens, and how many lines there were: for machines without /proc. */
  readonly log: () => { readonly listener: Listener | undefined; readonly lines: number };
  /** Whether the process has answered: there is nothing left to watch. */
  readonly isOver: () => boolean;
  /** Called each time that something was found: `certain` once nothing else has happened for a while. */
  readonly onListener: (listener: Listener, certain: boolean) => void;
}

const firstLookMs = 700;
const lookEveryMs = 500;
/**
 * The process serves HTTP elsewhere, writes no line, opens no socket and uses no processor for so long: it has started, and its PORT will
 * not open. One that is merely slow (it loads a model, it compiles) does something meanwhile.
 */
const stillMs = 4_000;
/** Ticks between two looks that count as rest: 3 of the usual 100 a second are what an idle runtime may use. */
const restingTicks = 3;

/** Ends with the signal. Never throws. */
export async function watchStartup(deps: StartupDeps, signal: AbortSignal): Promise<void> {
  const { clock, port, onListener } = deps;
  let before: { readonly signature: string; readonly ticks: number; readonly sinceMs: number } | undefined;
  await sleep(clock, firstLookMs, signal);
  while (!signal.aborted && !deps.isOver()) {
    const { listeners, ticks } = await look(deps);
    const own = listeners.filter((listener) => listener.port !== port);
    const found = own.find(mayServe) ?? own[0];
    const signature = JSON.stringify([listeners, deps.log().lines]);
    const isStill = before?.signature === signature && ticks - before.ticks <= restingTicks;
    before = { signature, ticks, sinceMs: isStill && before !== undefined ? before.sinceMs : clock.nowMs() };
    // A socket on PORT is for the probe to judge.
    if (found !== undefined && own.length === listeners.length && !signal.aborted) {
      const isOver = mayServe(found) && clock.nowMs() - before.sinceMs >= stillMs;
      onListener(found, isOver && (await serves(found, signal)));
    }
    await sleep(clock, lookEveryMs, signal);
  }
}

async function look({
  pid,
  log,
}: StartupDeps): Promise<{ readonly listeners: readonly Listener[]; readonly ticks: number }> {
  const activity = await activityOf(pid);
  if (activity !== undefined) return activity;
  const { listener } = log();
  return { listeners: listener === undefined ? [] : [listener], ticks: 0 };
}

/** Whether HTTP is spoken there: a port for debuggers or for other processes of the app is not what calls are for. */
async function serves(listener: Listener, signal: AbortSignal): Promise<boolean> {
  const { host, port } = listener;
  const address = isLoopback(listener) && host !== 'localhost' ? host : '127.0.0.1';
  const timeouts = { connectTimeoutMs: 500, answerTimeoutMs: 1_500 };
  const outcome = await probeOnce({ host: address, port, wants: 'answer', ...timeouts }, signal);
  return outcome.kind === 'ready' || (outcome.kind === 'foreign' && outcome.speaks === 'HTTP/2');
}
