/**
 * Keeps pruning from deleting an image between the moment when it is found and the moment when a record says that a version has it:
 * lookups and deletions exclude each other, and images that were found lately are remembered.
 */
import { untilAborted } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';

/** An image that was found for a version. */
export interface HandedOut {
  readonly app: string;
  readonly version: number;
  readonly tag: string;
  readonly digest: string;
}

/** Records are written later; this is longer than Postgres is usually away. */
const rememberMs = 15 * 60_000;
const maxRemembered = 10_000;

export class RegistryGate {
  readonly #clock: Clock;
  readonly #handedOut = new Map<string, HandedOut & { readonly atMs: number }>();
  #lookups = 0;
  #deletion: Promise<void> | undefined;
  readonly #free = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs a lookup. Many may run at a time, but none during a deletion. */
  async lookup<T>(look: () => Promise<T>): Promise<T> {
    while (this.#deletion) await this.#deletion;
    this.#lookups += 1;
    try {
      return await look();
    } finally {
      this.#lookups -= 1;
      if (this.#lookups === 0) for (const free of this.#free) free();
    }
  }

  /** Runs a deletion alone: no other one and no lookup runs meanwhile. @throws the signal's reason while it waits. */
  async deletion(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (this.#lookups > 0 || this.#deletion) await (this.#deletion ?? this.#noLookup(signal));
    signal.throwIfAborted();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#deletion = promise;
    try {
      await work();
    } finally {
      this.#deletion = undefined;
      resolve();
    }
  }

  /** Remembers that a version has the image. To be called within the lookup that found it. */
  handOut(image: HandedOut): void {
    const key = `${image.app} v${image.version}`;
    this.#handedOut.delete(key);
    this.#handedOut.set(key, { ...image, atMs: this.#clock.nowMs() });
    const [oldest] = this.#handedOut.keys();
    if (this.#handedOut.size > maxRemembered && oldest !== undefined) this.#handedOut.delete(oldest);
  }

  /** The images that versions got lately. */
  get handedOut(): readonly HandedOut[] {
    const sinceMs = this.#clock.nowMs() - rememberMs;
    for (const [key, { atMs }] of this.#handedOut) if (atMs < sinceMs) this.#handedOut.delete(key);
    return [...this.#handedOut.values()];
  }

  async #noLookup(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#free.add(resolve);
    try {
      await untilAborted(promise, signal);
    } finally {
      this.#free.delete(resolve);
    }
  }
}
