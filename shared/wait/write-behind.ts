/**
 * A bounded queue that writes in order behind the request path: nobody waits for the store, and while the store is away
 * nothing is lost up to the bound.
 */
import { AppError } from '../errors.ts';
import { untilAborted } from './abort.ts';
import { backoff } from './backoff.ts';
import type { Clock } from './clock.ts';
import { sleep } from './sleep.ts';

/** passing: try again; permanent: report and drop; fenced: somebody else writes now, so stop for good. */
export type WriteFailure = 'passing' | 'permanent' | 'fenced';

export interface WriteBehindOptions<T> {
  readonly write: (item: T) => Promise<void>;
  readonly failureOf: (error: unknown) => WriteFailure;
  readonly clock: Clock;
  /** The pauses while the store is away. */
  readonly backoff: { readonly minMs: number; readonly maxMs: number };
  /** The bound of the queue, besides the item that is being written. */
  readonly maxItems: number;
  /** A newer item of the same key takes the place of the older one. Without it every item is kept. */
  readonly keyOf?: (item: T) => string;
  /** Which of the queued items to drop when the queue is full; without it 0, the oldest. */
  readonly victimOf?: (queued: readonly T[]) => number;
  /** An item is lost: the queue was full, or its failure is permanent and told as `error`. */
  readonly onDropped: (item: T, cause: { readonly full: true } | { readonly error: unknown }) => void;
  readonly onFenced?: (error: unknown) => void;
  /** The longest time that `close` writes on; the write under way comes on top. Without it there is no limit. */
  readonly closeMs?: number;
}

interface Entry<T> {
  readonly key: unknown;
  readonly item: T;
  /** Its place in the order; a newer item of the same key takes it over. */
  readonly seq: number;
}

export class WriteBehind<T> {
  readonly #options: WriteBehindOptions<T>;
  readonly #entries = new Map<unknown, Entry<T>>();
  readonly #closing = new AbortController();
  readonly #flushes = new Set<PromiseWithResolvers<void> & { readonly upTo: number }>();
  #seq = 0;
  #writing: Entry<T> | undefined;
  #running: Promise<void> | undefined;
  /** Why nothing is written any more. */
  #ended: { readonly reason: unknown; readonly isFenced: boolean } | undefined;

  constructor(options: WriteBehindOptions<T>) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** What is not written yet, oldest first. */
  get items(): readonly T[] {
    return [...this.#entries.values()].map(({ item }) => item);
  }

  /** Does nothing after `close`, or after the queue was fenced. */
  add(item: T): void {
    if (this.#closing.signal.aborted || this.#ended) return;
    const { keyOf } = this.#options;
    this.#seq += 1;
    const key = keyOf ? keyOf(item) : this.#seq;
    const older = this.#entries.get(key);
    if (!older) this.#makeRoom();
    this.#entries.set(key, { key, item, seq: older?.seq ?? this.#seq });
    this.#running ??= this.#run();
  }

  /** Forgets items that need not be written any more. A write under way goes on. */
  remove(isUnwanted: (item: T) => boolean): void {
    for (const [key, { item }] of this.#entries) if (isUnwanted(item)) this.#entries.delete(key);
    this.#tellFlushes();
  }

  /**
   * Resolves when everything added so far is written or dropped.
   * @throws the signal's reason; the error of the fence; AppError store_unavailable when the queue closes before.
   */
  async flushed(signal: AbortSignal): Promise<void> {
    const flush = { ...Promise.withResolvers<void>(), upTo: this.#seq };
    this.#flushes.add(flush);
    this.#tellFlushes();
    try {
      await untilAborted(flush.promise, signal);
    } finally {
      this.#flushes.delete(flush);
    }
  }

  /** Takes no more, and writes what is queued unless the store is away. `size` tells what is left. */
  async close(): Promise<void> {
    this.#closing.abort();
    const { clock, closeMs } = this.#options;
    const stopTimer = closeMs === undefined ? undefined : clock.after(closeMs, () => this.#end(closedBefore()));
    await this.#running;
    stopTimer?.();
    this.#end(closedBefore());
  }

  #makeRoom(): void {
    const queued = [...this.#entries.values()].filter((entry) => entry !== this.#writing);
    if (queued.length < this.#options.maxItems) return;
    const victim = queued[this.#options.victimOf?.(queued.map(({ item }) => item)) ?? 0] ?? queued[0];
    if (victim) this.#drop(victim, { full: true });
  }

  async #run(): Promise<void> {
    const { write, clock } = this.#options;
    await Promise.resolve(); // so that `add` never runs a write itself
    const pauses = backoff(this.#options.backoff);
    for (let [next] = this.#entries.values(); next && !this.#ended; [next] = this.#entries.values()) {
      this.#writing = next;
      try {
        await write(next.item);
        this.#written(next);
        pauses.reset();
      } catch (error) {
        if (this.#failed(next, error)) await sleep(clock, pauses.next(), this.#closing.signal);
      }
    }
    this.#writing = undefined;
    this.#running = undefined;
  }

  /** @returns whether to try again after a pause. */
  #failed(entry: Entry<T>, error: unknown): boolean {
    const failure = this.#options.failureOf(error);
    switch (failure) {
      case 'passing':
        if (this.#closing.signal.aborted) this.#end(closedBefore(error));
        return true;
      case 'permanent':
        // Trying again would block everything behind it.
        this.#drop(entry, { error });
        return false;
      case 'fenced':
        this.#entries.clear();
        this.#end(error, true);
        this.#options.onFenced?.(error);
        return false;
    }
  }

  #written(entry: Entry<T>): void {
    // A newer item of the key may have come meanwhile.
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
    this.#tellFlushes();
  }

  #drop(entry: Entry<T>, cause: { readonly full: true } | { readonly error: unknown }): void {
    this.#written(entry);
    this.#options.onDropped(entry.item, cause);
  }

  #end(reason: unknown, isFenced = false): void {
    this.#ended ??= { reason, isFenced };
    this.#tellFlushes();
  }

  #tellFlushes(): void {
    const [oldest] = this.#entries.values();
    for (const flush of this.#flushes) {
      if (this.#ended && (oldest || this.#ended.isFenced)) flush.reject(this.#ended.reason);
      else if (!oldest || oldest.seq > flush.upTo) flush.resolve();
    }
  }
}

function closedBefore(cause?: unknown): AppError {
  return new AppError('store_unavailable', 'the write-behind queue was closed while items were still unwritten', {
    cause,
  });
}
