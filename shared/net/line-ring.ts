/** The last lines of a log, bounded in number and size, for readers of what was and followers of what comes. */
import { onAbort } from '../wait/abort.ts';

export interface LineRingOptions<T> {
  readonly maxLines: number;
  /** Bound of the sizes of all lines together. The last line stays, whatever its size. */
  readonly maxSize: number;
  readonly sizeOf: (line: T) => number;
  /** Makes the line that a follower gets in place of lines that it was too slow to read. @param next the line after them. */
  readonly missed: (count: number, next: T) => T;
}

export interface LineQuery<T> {
  readonly matches?: ((line: T) => boolean) | undefined;
  /** Only lines from this position on. */
  readonly since?: number;
}

export class LineRing<T> {
  readonly #options: LineRingOptions<T>;
  /** Lines by position. */
  readonly #lines = new Map<number, T>();
  readonly #waiting = new Set<() => void>();
  #first = 0;
  #next = 0;
  #size = 0;
  #ended = false;

  constructor(options: LineRingOptions<T>) {
    this.#options = options;
  }

  push(line: T): void {
    if (this.#ended) return;
    const { maxLines, maxSize, sizeOf } = this.#options;
    this.#lines.set(this.#next, line);
    this.#next += 1;
    this.#size += sizeOf(line);
    for (const [position, oldest] of this.#lines) {
      if (this.#lines.size <= maxLines && (this.#size <= maxSize || this.#lines.size === 1)) break;
      this.#lines.delete(position);
      this.#size -= sizeOf(oldest);
      this.#first = position + 1;
    }
    this.#wake();
  }

  /** The position of the next line; it changes with each line. */
  get position(): number {
    return this.#next;
  }

  /** The last `count` lines that match, oldest first. */
  last(count: number, { matches = () => true, since = 0 }: LineQuery<T> = {}): T[] {
    const found: T[] = [];
    for (let at = this.#next - 1; at >= Math.max(this.#first, since) && found.length < count; at -= 1) {
      const line = this.#lines.get(at);
      if (line !== undefined && matches(line)) found.push(line);
    }
    return found.toReversed();
  }

  /** The last `count` lines that match and further ones, until `end` or the signal. Never throws. */
  async *follow(
    count: number,
    signal: AbortSignal,
    matches: (line: T) => boolean = () => true,
  ): AsyncGenerator<T, void> {
    let position = this.#next;
    yield* this.last(count, { matches });
    while (!signal.aborted) {
      const [first] = this.#lines.values();
      if (position < this.#first && first !== undefined) {
        const missed = this.#options.missed(this.#first - position, first);
        position = this.#first;
        yield missed;
      } else if (position < this.#next) {
        const line = this.#lines.get(position);
        position += 1;
        if (line !== undefined && matches(line)) yield line;
      } else if (this.#ended) {
        return;
      } else {
        await this.#changed(signal);
      }
    }
  }

  /** Takes no more lines, and ends the followers. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async #changed(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    using _listener = onAbort(signal, resolve);
    await promise;
    this.#waiting.delete(resolve);
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}
