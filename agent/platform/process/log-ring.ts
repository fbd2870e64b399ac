/** The last lines that an app has written, bounded in number and size. Followers hold a position, not a copy. */
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { LogLine } from '../../../shared/protocol/views.ts';
import { onAbort } from '../../../shared/wait/abort.ts';

const maxLineChars = 16_384;

export interface LogQuery {
  /** Only lines of this version. */
  readonly version?: number | undefined;
  /** Only lines from this position on. */
  readonly since?: number;
}

export class LogRing {
  readonly #maxLines: number;
  readonly #maxChars: number;
  readonly #lines = new Map<number, LogLine>();
  #first = 0;
  #next = 0;
  #chars = 0;
  #closed = false;
  readonly #waiting = new Set<() => void>();

  constructor(options: { readonly maxLines?: number; readonly maxChars?: number } = {}) {
    this.#maxLines = options.maxLines ?? 10_000;
    this.#maxChars = options.maxChars ?? 2 * 1024 * 1024;
  }

  push(line: LogLine): void {
    if (this.#closed) return;
    this.#lines.set(this.#next, line);
    this.#next += 1;
    this.#chars += line.line.length;
    while (this.#lines.size > this.#maxLines || (this.#chars > this.#maxChars && this.#lines.size > 1)) {
      this.#chars -= this.#lines.get(this.#first)?.line.length ?? 0;
      this.#lines.delete(this.#first);
      this.#first += 1;
    }
    this.#wakeFollowers();
  }

  /** The position of the next line, for `since`. */
  get position(): number {
    return this.#next;
  }

  /** The last `tail` lines that match the query, oldest first. */
  last(tail: number, query: LogQuery = {}): LogLine[] {
    const found: LogLine[] = [];
    const oldest = Math.max(this.#first, query.since ?? 0);
    for (let seq = this.#next - 1; seq >= oldest && found.length < tail; seq -= 1) {
      const line = this.#lines.get(seq);
      if (line !== undefined && matches(line, query)) found.push(line);
    }
    return found.toReversed();
  }

  /** The last `tail` lines that match, then new ones until the signal aborts or the ring is closed. Does not throw when the signal aborts. */
  async *follow(tail: number, query: LogQuery, signal: AbortSignal): AsyncGenerator<LogLine, void, undefined> {
    let position = this.#next;
    yield* this.last(tail, query);
    while (!signal.aborted) {
      while (position < this.#next && !signal.aborted) {
        const line = this.#lines.get(position);
        if (line === undefined) {
          const lost = this.#first - position;
          const version = this.#lines.get(this.#first)?.version ?? 1;
          position = this.#first;
          yield {
            instance: 'holdfast',
            version,
            line: `… up to ${lost} lines were lost: they came faster than they were read`,
          };
          continue;
        }
        position += 1;
        if (matches(line, query)) yield line;
      }
      if (position < this.#next) continue;
      if (this.#closed) return;
      await this.#changed(signal);
    }
  }

  /** Takes no more lines, and ends the followers. */
  close(): void {
    this.#closed = true;
    this.#wakeFollowers();
  }

  async #changed(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    using _listener = onAbort(signal, resolve);
    await promise;
    this.#waiting.delete(resolve);
  }

  #wakeFollowers(): void {
    for (const wake of this.#waiting) wake();
  }
}

function matches(line: LogLine, query: LogQuery): boolean {
  return query.version === undefined || line.version === query.version;
}

/** Calls `push` for each line of the stream, without its line end. A line that is too long becomes several. */
export function readLines(stream: Readable, push: (line: string) => void): void {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  const take = (text: string): void => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) cut(line.endsWith('\r') ? line.slice(0, -1) : line, push);
    while (rest.length > maxLineChars) {
      push(rest.slice(0, maxLineChars));
      rest = rest.slice(maxLineChars);
    }
  };
  stream.on('data', (chunk: Buffer) => take(decoder.write(chunk)));
  stream.once('close', () => {
    take(decoder.end());
    if (rest !== '') push(rest);
  });
  // A broken pipe is the end of the output.
  stream.on('error', () => stream.destroy());
}

function cut(line: string, push: (line: string) => void): void {
  if (line.length <= maxLineChars) return push(line);
  for (let at = 0; at < line.length; at += maxLineChars) push(line.slice(at, at + maxLineChars));
}
