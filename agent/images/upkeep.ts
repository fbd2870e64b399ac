/** The rounds of a leader: it corrects records of builds, prunes images and forgets old builds. Each step is bounded in time. */
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { ImageView } from '../../shared/protocol/views.ts';
import { withDeadline } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';

interface UpkeepDeps {
  readonly correct: (signal: AbortSignal) => Promise<void>;
  readonly prune: (
    options: { readonly dryRun: false; readonly actor: string; readonly maxImages: number },
    signal: AbortSignal,
  ) => Promise<ImageView[]>;
  readonly forget: (olderThanDays: number) => Promise<number>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Time from the start to the first pruning; records are corrected right away. */
const firstMs = 60_000;
const everyMs = 3_600_000;
/** Time from the end of a build to the next round, so that several builds make one round. */
const afterBuildMs = 60_000;
const roundMs = 10 * 60_000;
const maxImages = 200;
const keptDays = 30;

export function createUpkeep({ correct, prune, forget, clock, log }: UpkeepDeps) {
  let stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let nextMs = Infinity;
  let wake: () => void = () => undefined;

  async function run(signal: AbortSignal): Promise<void> {
    await step('could not correct the records of builds', signal, correct);
    while (!signal.aborted) {
      const leftMs = nextMs - clock.nowMs();
      if (leftMs > 0) {
        await pause(leftMs, signal);
        continue;
      }
      nextMs = clock.nowMs() + everyMs;
      await step('could not correct the records of builds', signal, correct);
      await step('could not prune images', signal, async (round) => {
        const pruned = await prune({ dryRun: false, actor: 'holdfast', maxImages }, round);
        if (pruned.length > 0) log.info({ images: pruned.length }, 'images pruned');
      });
      await step('could not delete the records of old builds', signal, async () => void (await forget(keptDays)));
    }
  }

  /** A step that fails is logged; the next round repeats it. */
  async function step(what: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (signal.aborted) return;
    try {
      await withDeadline({ clock, ms: roundMs, signal }, work);
    } catch (error) {
      if (!signal.aborted) log.warn({ err: toAppError(error) }, what);
    }
  }

  async function pause(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    wake = () => woken.abort();
    await sleep(clock, ms, AbortSignal.any([signal, woken.signal]));
  }

  return {
    start(): void {
      if (!stopping.signal.aborted) stopping.abort();
      stopping = new AbortController();
      const { signal } = stopping;
      nextMs = clock.nowMs() + firstMs;
      running = running.then(() => run(signal));
    },
    /** Ends the round under way; no other one begins. */
    stop(): void {
      stopping.abort();
    },
    /** Resolves when no round is under way. */
    idle: () => running,
    /** A build has ended, so that an older image may not be needed any more: the next round comes soon. */
    built(): void {
      nextMs = Math.min(nextMs, clock.nowMs() + afterBuildMs);
      wake();
    },
  };
}
