/** Which builds run and which wait: a bounded queue, first come, first served. */
import { AppError } from '../shared/errors.ts';

export interface Place {
  /**
   * Resolves with the number of a slot that is this build's until it leaves: the lowest that is free.
   * @param onPosition 1 is next; told again as it changes.
   * @throws the signal's reason.
   */
  turn(signal: AbortSignal, onPosition: (position: number) => void): Promise<number>;
  /** Gives the place back; again is no harm. */
  leave(): void;
}

export interface BuildSlots {
  /** @throws AppError build_queue_full */
  enter(): Place;
  /** Resolves when nobody has a place. */
  empty(): Promise<void>;
}

export interface BuildSlotsOptions {
  readonly maxConcurrent: number;
  readonly maxQueue: number;
}

interface Waiter {
  readonly begin: (slot: number) => void;
  readonly onPosition: (position: number) => void;
}

const retryAfterMs = 15_000;

export function createBuildSlots({ maxConcurrent, maxQueue }: BuildSlotsOptions): BuildSlots {
  const free = new Set(Array.from({ length: maxConcurrent }, (_, slot) => slot));
  const waiting: Waiter[] = [];
  let places = 0;
  let onEmpty: (() => void)[] = [];

  function advance(): void {
    while (waiting.length > 0 && free.size > 0) {
      const slot = Math.min(...free);
      free.delete(slot);
      waiting.shift()?.begin(slot);
    }
    for (const [index, { onPosition }] of waiting.entries()) onPosition(index + 1);
  }

  return {
    enter() {
      if (places >= maxConcurrent + maxQueue) {
        const message = `${String(places)} builds run or wait here already`;
        throw new AppError('build_queue_full', message, { phase: 'build', retryAfterMs });
      }
      places += 1;
      let slot: number | undefined;
      let isHere = true;
      return {
        turn(signal, onPosition) {
          const { promise, resolve, reject } = Promise.withResolvers<number>();
          const waiter: Waiter = {
            begin(taken) {
              signal.removeEventListener('abort', onAbort);
              slot = taken;
              resolve(taken);
            },
            onPosition,
          };
          const onAbort = (): void => {
            const index = waiting.indexOf(waiter);
            if (index >= 0) waiting.splice(index, 1);
            reject(signal.reason as Error);
            advance();
          };
          if (signal.aborted) reject(signal.reason as Error);
          else {
            signal.addEventListener('abort', onAbort, { once: true });
            waiting.push(waiter);
            advance();
          }
          return promise;
        },
        leave() {
          if (!isHere) return;
          isHere = false;
          places -= 1;
          if (slot !== undefined) free.add(slot);
          advance();
          if (places > 0) return;
          for (const resolve of onEmpty) resolve();
          onEmpty = [];
        },
      };
    },
    empty: () => (places === 0 ? Promise.resolve() : new Promise((resolve) => void onEmpty.push(resolve))),
  };
}
