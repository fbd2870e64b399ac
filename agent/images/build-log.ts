/** The last lines of one build, bounded in number and bytes. A follower holds a position, never a copy. */
import { onAbort } from '../../shared/wait/abort.ts';

const maxLines = 200;
const maxLineBytes = 4_096;
const maxBytes = 256 * 1_024;

export class BuildLog {
  readonly #lines: string[] = [];
  /** Position of the first line that is still kept. */
  #first = 0;
  #bytes = 0;
  #ended = false;
  readonly #waiting = new Set<() => void>();

  push(text: string): void {
    if (this.#ended) return;
    const line = bounded(text);
    this.#lines.push(line);
    this.#bytes += Buffer.byteLength(line);
    while (this.#lines.length > maxLines || this.#bytes > maxBytes) {
      this.#bytes -= Buffer.byteLength(this.#lines.shift() ?? '');
      this.#first += 1;
    }
    this.#wake();
  }

  /** The number of lines so far; it changes with each line. */
  get position(): number {
    return this.#first + this.#lines.length;
  }

  /** The last `count` lines, oldest first. */
  last(count: number): string[] {
    return count === 0 ? [] : this.#lines.slice(-count);
  }

  /** No line comes after this, and followers end. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /**
   * The last `tail` lines and further ones, until `end` or the signal. A reader that is too slow misses lines and gets a line
   * that says how many.
   */
  async *follow(tail: number, signal: AbortSignal): AsyncGenerator<string, void, undefined> {
    let position = Math.max(this.#first, this.position - tail);
    while (!signal.aborted) {
      if (position < this.#first) {
        const missed = this.#first - position;
        position = this.#first;
        yield `… ${missed} lines left out: they came faster than they were read`;
      } else if (position < this.position) {
        const line = this.#lines[position - this.#first] ?? '';
        position += 1;
        yield line;
      } else if (this.#ended) {
        return;
      } else {
        await this.#changed(signal);
      }
    }
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

/** Removes NUL, which Postgres does not accept in JSON, and cuts a long line between two characters. */
function bounded(text: string): string {
  const line = text.replaceAll('\0', '');
  if (Buffer.byteLength(line) <= maxLineBytes) return line;
  const cut = Buffer.from(line).subarray(0, maxLineBytes).toString('utf8');
  return cut.endsWith('\ufffd') ? cut.slice(0, -1) : cut;
}
