/** A fair, bounded semaphore: some hold a place, the others queue, and keys take turns so that none starves another. */
import { AppError } from '../errors.ts';
import { onAbort } from './abort.ts';

export interface SemaphoreOptions {
  readonly places: number;
  /** Places that one key may hold at a time. */
  readonly placesPerKey?: number;
  /** The bound of the queue; Infinity where the callers are bounded already. */
  readonly maxWaiting?: number;
  /** Makes the error for who finds the queue full; without it AppError too_many_calls. */
  readonly full?: (waiting: number) => Error;
}

export interface Turn {
  /** Aborting it leaves the queue. A place that is held is not touched. */
  readonly signal: AbortSignal;
  /** Who asks. Keys are served round robin; within a key it is first come, first served. */
  readonly key?: string;
  /** Called on every change while queued; position 1 is next. */
  readonly onPosition?: (position: number, waiting: number) => void;
  /** Takes a place without waiting, even if all are taken: for what runs already and has to be counted. */
  readonly atOnce?: boolean;
}

/** Disposing gives the place back; doing so again is harmless. */
export interface Place extends Disposable {
  /** The lowest number, from 0, that nobody else holds. */
  readonly slot: number;
}

interface Waiter {
  readonly turn: Turn;
  readonly grant: (place: Place) => void;
  told: string;
}

export class Semaphore {
  readonly #options: Required<SemaphoreOptions>;
  /** Waiters by key; the order of the keys is the order of their turns. No set is empty. */
  readonly #queues = new Map<string, Set<Waiter>>();
  readonly #heldByKey = new Map<string, number>();
  #freeSlots: number[] = [];
  #nextSlot = 0;
  #held = 0;
  #waiting = 0;
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(options: SemaphoreOptions) {
    const full = (waiting: number): Error => new AppError('too_many_calls', `${waiting} wait for their turn already`);
    this.#options = { placesPerKey: Infinity, maxWaiting: Infinity, full, ...options };
  }

  get held(): number {
    return this.#held;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Waits for a place: `using _place = await semaphore.acquire({ signal })`. @throws the error of `full`; the signal's reason. */
  async acquire(turn: Turn): Promise<Place> {
    const { signal, key = '', atOnce = false } = turn;
    signal.throwIfAborted();
    // Whoever could take a free place has one already, so nobody is overtaken here.
    if (atOnce || this.#hasRoom(key)) return this.#take(key);
    if (this.#waiting >= this.#options.maxWaiting) throw this.#options.full(this.#waiting);
    const { promise, resolve, reject } = Promise.withResolvers<Place>();
    const waiter: Waiter = { turn, grant: resolve, told: '' };
    this.#enqueue(key, waiter);
    // Once granted, the place is the caller's: an abort between grant and return does not lose it.
    using _listener = onAbort(signal, () => {
      if (this.#remove(key, waiter)) reject(signal.reason);
    });
    return await promise;
  }

  /** A place if one is free for the key, without waiting. */
  tryAcquire(key = ''): Place | undefined {
    return this.#hasRoom(key) ? this.#take(key) : undefined;
  }

  /** Runs the work while it holds a place. @throws as `acquire`; what the work throws. */
  async run<T>(turn: Turn, work: (place: Place) => Promise<T>): Promise<T> {
    using place = await this.acquire(turn);
    return await work(place);
  }

  /** Resolves when nobody holds a place or waits for one. */
  idle(): Promise<void> {
    if (this.#held + this.#waiting === 0) return Promise.resolve();
    this.#idle ??= Promise.withResolvers();
    return this.#idle.promise;
  }

  #hasRoom(key: string): boolean {
    const { places, placesPerKey } = this.#options;
    return this.#held < places && (this.#heldByKey.get(key) ?? 0) < placesPerKey;
  }

  #take(key: string): Place {
    this.#held += 1;
    this.#heldByKey.set(key, (this.#heldByKey.get(key) ?? 0) + 1);
    const lowest = this.#freeSlots.length === 0 ? this.#nextSlot++ : Math.min(...this.#freeSlots);
    this.#freeSlots = this.#freeSlots.filter((slot) => slot !== lowest);
    let isHeld = true;
    return {
      slot: lowest,
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#giveBack(key, lowest);
      },
    };
  }

  #giveBack(key: string, slot: number): void {
    this.#held -= 1;
    const heldOfKey = (this.#heldByKey.get(key) ?? 0) - 1;
    if (heldOfKey > 0) this.#heldByKey.set(key, heldOfKey);
    else this.#heldByKey.delete(key);
    this.#freeSlots.push(slot);
    if (this.#held === 0) [this.#freeSlots, this.#nextSlot] = [[], 0];
    this.#advance();
  }

  #enqueue(key: string, waiter: Waiter): void {
    const own = this.#queues.get(key);
    if (own) own.add(waiter);
    else this.#queues.set(key, new Set([waiter]));
    this.#waiting += 1;
    this.#tellPositions();
  }

  /** @returns whether it was still waiting. */
  #remove(key: string, waiter: Waiter): boolean {
    const own = this.#queues.get(key);
    if (!own?.delete(waiter)) return false;
    if (own.size === 0) this.#queues.delete(key);
    this.#waiting -= 1;
    this.#changed();
    return true;
  }

  /** Gives every free place to the next waiter that may have it. */
  #advance(): void {
    while (this.#held < this.#options.places) {
      const [key, own] = this.#nextQueue() ?? [];
      const [next] = own ?? [];
      if (key === undefined || !own || !next) break;
      own.delete(next);
      this.#queues.delete(key);
      if (own.size > 0) this.#queues.set(key, own); // behind the other keys
      this.#waiting -= 1;
      next.grant(this.#take(key));
    }
    this.#changed();
  }

  #nextQueue(): [key: string, own: Set<Waiter>] | undefined {
    for (const queue of this.#queues) if (this.#hasRoom(queue[0])) return queue;
    return undefined;
  }

  #changed(): void {
    if (this.#held + this.#waiting === 0) {
      this.#idle?.resolve();
      this.#idle = undefined;
    }
    this.#tellPositions();
  }

  /** Positions are in the order of service if nobody else came; `placesPerKey` is not looked at. */
  #tellPositions(): void {
    let position = 0;
    let queues = [...this.#queues.values()].map((own) => [...own]);
    for (let round = 0; queues.length > 0; round += 1) {
      for (const waiter of queues.flatMap((own) => own[round] ?? [])) {
        position += 1;
        const told = `${position} of ${this.#waiting}`;
        if (waiter.told === told) continue;
        waiter.told = told;
        waiter.turn.onPosition?.(position, this.#waiting);
      }
      queues = queues.filter((own) => own.length > round + 1);
    }
  }
}
