/** What a leader does by itself, now and then: corrects rows of builds, and prunes images. One round at a time, each bounded. */
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { ImageView } from '../../shared/protocol/views.ts';
import { withDeadline } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';

export interface Upkeep {
  start(): void;
  /** Nothing is begun any more. */
  stop(): void;
  /** Resolves when a round that was under way has ended. */
  idle(): Promise<void>;
  /** A build has ended: an image may have become superfluous. */
  built(): void;
}

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

/** Rows are corrected right away; for images there is time, and routers that come back come first. */
const firstMs = 60_000;
const everyMs = 3_600_000;
/** Several builds that end one after another make one round. */
const afterBuildMs = 60_000;
const roundMs = 10 * 60_000;
const maxImages = 200;
const keptDays = 30;

export function createUpkeep({ correct, prune, forget, clock, log }: UpkeepDeps): Upkeep {
  let stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let nextMs = Infinity;
  let wake: () => void = () => undefined;

  async function run(signal: AbortSignal): Promise<void> {
    await step('rows of builds could not be corrected', signal, correct);
    while (!signal.aborted) {
      const leftMs = nextMs - clock.nowMs();
      if (leftMs > 0) {
        await pause(leftMs, signal);
        continue;
      }
      nextMs = clock.nowMs() + everyMs;
      await step('rows of builds could not be corrected', signal, correct);
      await step('images could not be pruned', signal, async (round) => {
        const pruned = await prune({ dryRun: false, actor: 'holdfast', maxImages }, round);
        if (pruned.length > 0) log.info({ images: pruned.length }, 'images were pruned');
      });
      await step('old builds could not be forgotten', signal, async () => void (await forget(keptDays)));
    }
  }

  /** What fails is tried again in the next round. */
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
    start() {
      if (!stopping.signal.aborted) stopping.abort();
      stopping = new AbortController();
      const { signal } = stopping;
      nextMs = clock.nowMs() + firstMs;
      running = running.then(() => run(signal));
    },
    stop() {
      stopping.abort();
    },
    idle: () => running,
    built() {
      nextMs = Math.min(nextMs, clock.nowMs() + afterBuildMs);
      wake();
    },
  };
}
