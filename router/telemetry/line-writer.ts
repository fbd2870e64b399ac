/**
 * Writes lines to standard output in batches, and never blocks on it: what a slow reader has not taken waits in a bounded buffer,
 * and lines beyond that are dropped and counted.
 */
import { constants, fstatSync, openSync, write, writeSync } from 'node:fs';
import type { Clock } from '../../shared/wait/clock.ts';

export interface LineWriterDeps {
  readonly clock: Clock;
  readonly output: Output;
  /** Called with the number of lines that were dropped. */
  readonly onDropped: (lines: number) => void;
  /** Maximum bytes buffered; default 1 MiB. */
  readonly maxBytes?: number;
}

export interface Output {
  readonly fd: number;
  /** A write fails with EAGAIN rather than blocks. */
  readonly nonBlocking: boolean;
}

/** Opens standard output for writes that do not block, without changing it for other processes that share it. */
export function openStandardOutput(): Output {
  const stats = fstatSync(1);
  // Opened again, it would have an offset of its own, and other writers would overwrite our lines.
  if (stats.isFile()) return { fd: 1, nonBlocking: true };
  if (stats.isFIFO()) {
    try {
      const fd = openSync('/proc/self/fd/1', constants.O_WRONLY | constants.O_NONBLOCK);
      return { fd, nonBlocking: true };
    } catch {
      // The pipe belongs to another user.
    }
  }
  // Node's thread pool blocks on it instead.
  return { fd: 1, nonBlocking: false };
}

/**
 * PIPE_BUF of Linux: writes up to this size are atomic; larger ones may be mixed with those of other writers, such as the log of
 * this process and of other workers.
 */
const pieceBytes = 4_096;
/** Larger chunks for thread-pool writes: each costs a round trip. */
const largePieceBytes = 65_536;
const defaultMaxBytes = 1_048_576;
/** Time for which a line may wait for others. */
const delayMs = 50;
const retryMs = 2;
const closeTimeoutMs = 1_000;

interface Batch {
  readonly bytes: Buffer;
  readonly lines: number;
  written: number;
}

export class LineWriter {
  readonly #deps: LineWriterDeps;
  readonly #maxBytes: number;
  readonly #batchBytes: number;
  /** The current batch. It is ASCII, so its length is its number of bytes. */
  #text = '';
  #lines = 0;
  #queue: Batch[] = [];
  #queuedBytes = 0;
  /** A write is in progress, or will be tried again. */
  #busy = false;
  #cancelFlush: (() => void) | undefined;
  #onIdle: (() => void) | undefined;
  #closed = false;

  constructor(deps: LineWriterDeps) {
    this.#deps = deps;
    this.#maxBytes = deps.maxBytes ?? defaultMaxBytes;
    this.#batchBytes = deps.output.nonBlocking ? pieceBytes : largePieceBytes;
  }

  /** @param line ASCII text with its line end. */
  add(line: string): void {
    if (this.#queuedBytes + this.#text.length + line.length > this.#maxBytes || this.#closed) {
      this.#deps.onDropped(1);
      return;
    }
    if (this.#text.length + line.length > this.#batchBytes) this.#flush();
    this.#text += line;
    this.#lines += 1;
    this.#cancelFlush ??= this.#deps.clock.after(delayMs, this.#flushLate);
  }

  /** Takes no more lines, and writes what is buffered, for at most a second. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelFlush?.();
    this.#flush();
    await new Promise<void>((resolve) => {
      const cancel = this.#deps.clock.after(closeTimeoutMs, resolve);
      this.#onIdle = (): void => {
        cancel();
        resolve();
      };
      if (this.#queue.length === 0) this.#onIdle();
    });
    this.#onIdle = undefined;
    for (const { lines } of this.#queue.splice(0)) this.#deps.onDropped(lines);
  }

  readonly #flushLate = (): void => {
    this.#cancelFlush = undefined;
    this.#flush();
  };

  #flush(): void {
    if (this.#text === '') return;
    // Converted at once, because the text is a rope that takes several times the memory of its bytes.
    const bytes = Buffer.from(this.#text, 'latin1');
    this.#queue.push({ bytes, lines: this.#lines, written: 0 });
    this.#queuedBytes += bytes.length;
    this.#text = '';
    this.#lines = 0;
    if (!this.#busy) this.#writeQueue();
  }

  readonly #writeQueue = (): void => {
    const { fd, nonBlocking } = this.#deps.output;
    this.#busy = false;
    for (let batch = this.#queue[0]; batch !== undefined; batch = this.#queue[0]) {
      if (!nonBlocking) {
        this.#busy = true;
        write(fd, batch.bytes, batch.written, null, null, this.#written);
        return;
      }
      try {
        batch.written += writeSync(fd, batch.bytes, batch.written);
        if (batch.written === batch.bytes.length) this.#done(batch);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return this.#retry();
        this.#drop(batch);
      }
    }
    this.#onIdle?.();
  };

  readonly #written = (error: NodeJS.ErrnoException | null, count: number): void => {
    const batch = this.#queue[0];
    if (error?.code === 'EAGAIN') return this.#retry();
    // The batch is gone if `close` did not wait for it.
    if (batch !== undefined) {
      if (error !== null) this.#drop(batch);
      else if ((batch.written += count) === batch.bytes.length) this.#done(batch);
    }
    this.#writeQueue();
  };

  #retry(): void {
    this.#busy = true;
    this.#deps.clock.after(retryMs, this.#writeQueue);
  }

  #drop(batch: Batch): void {
    this.#deps.onDropped(batch.lines);
    this.#done(batch);
  }

  #done(batch: Batch): void {
    this.#queue.shift();
    this.#queuedBytes -= batch.bytes.length;
  }
}
