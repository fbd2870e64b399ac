/** A bounded queue from several writers to one reader. Writers wait while it is full. */

export interface LineQueue<T> {
  /** Adds a line as soon as there is room. After the end lines are dropped. */
  push(line: T): Promise<void>;
  /** Ends the queue. The reader still gets what is queued. */
  end(): void;
  lines(): AsyncGenerator<T>;
}

export function createLineQueue<T>(options: { readonly limit: number }): LineQueue<T> {
  const queued: T[] = [];
  let ended = false;
  let reader: (() => void) | undefined;
  let writers: (() => void)[] = [];

  function wakeWriters(): void {
    const waiting = writers;
    writers = [];
    for (const wake of waiting) wake();
  }

  return {
    async push(line) {
      while (queued.length >= options.limit && !ended) {
        const { promise, resolve } = Promise.withResolvers<void>();
        writers.push(resolve);
        await promise;
      }
      if (ended) return;
      queued.push(line);
      reader?.();
    },
    end() {
      ended = true;
      wakeWriters();
      reader?.();
    },
    async *lines() {
      for (;;) {
        const batch = queued.splice(0);
        wakeWriters();
        yield* batch;
        if (queued.length > 0) continue;
        if (ended) return;
        const { promise, resolve } = Promise.withResolvers<void>();
        reader = resolve;
        await promise;
        reader = undefined;
      }
    },
  };
}
