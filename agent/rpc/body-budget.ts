/** Bounds the bytes of request bodies that are in memory: in all, and for each caller. */
import { AppError } from '../../shared/errors.ts';

export interface BodyBudgetOptions {
  readonly totalBytes: number;
  /** Of one key. Default: no bound of its own. */
  readonly keyBytes?: number;
}

/** The bytes of one body. Disposing gives them back; doing so again is harmless. */
export interface HeldBody extends Disposable {
  /** Counts further bytes. @throws AppError too_many_calls if there is no room for them. */
  add(bytes: number): void;
}

interface Entry {
  readonly key: string;
  readonly onEvicted: ((error: AppError) => void) | undefined;
  bytes: number;
}

export class BodyBudget {
  readonly #options: Required<BodyBudgetOptions>;
  readonly #entries = new Set<Entry>();
  readonly #byKey = new Map<string, number>();
  #total = 0;

  constructor({ totalBytes, keyBytes = Infinity }: BodyBudgetOptions) {
    this.#options = { totalBytes, keyBytes };
  }

  /** @param onEvicted ends the body if a later one needs its room; without it, the later one is refused. */
  open(key: string, onEvicted?: (error: AppError) => void): HeldBody {
    const entry: Entry = { key, onEvicted, bytes: 0 };
    this.#entries.add(entry);
    return {
      add: (bytes) => {
        this.#makeRoom(entry, bytes);
        this.#count(entry, bytes);
      },
      [Symbol.dispose]: () => this.#remove(entry),
    };
  }

  #makeRoom(entry: Entry, bytes: number): void {
    const { totalBytes, keyBytes } = this.#options;
    if ((this.#byKey.get(entry.key) ?? 0) + bytes > keyBytes) throw full(`the requests of ${entry.key}`);
    while (this.#total + bytes > totalBytes) {
      const victim = [...this.#entries].find((one) => one !== entry && one.bytes > 0 && one.onEvicted !== undefined);
      if (victim === undefined) throw full('all requests');
      this.#remove(victim);
      victim.onEvicted?.(full('all requests'));
    }
  }

  #count(entry: Entry, bytes: number): void {
    if (!this.#entries.has(entry)) throw full('all requests');
    entry.bytes += bytes;
    this.#total += bytes;
    this.#byKey.set(entry.key, (this.#byKey.get(entry.key) ?? 0) + bytes);
  }

  #remove(entry: Entry): void {
    if (!this.#entries.delete(entry)) return;
    this.#total -= entry.bytes;
    const left = (this.#byKey.get(entry.key) ?? 0) - entry.bytes;
    if (left > 0) this.#byKey.set(entry.key, left);
    else this.#byKey.delete(entry.key);
  }
}

function full(whose: string): AppError {
  return new AppError('too_many_calls', `${whose} have as many bytes under way as are allowed`, {
    retryAfterMs: 1_000,
  });
}
