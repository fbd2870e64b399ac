/**
 * Lines on their way to standard output, in batches, and never waited for: what its reader is slow to take waits in a bounded
 * buffer, and what comes on top of that is dropped and counted.
 */
import { constants, fstatSync, openSync, write, writeSync } from 'node:fs';
import type { Clock } from '../../shared/wait/clock.ts';

export interface LineWriterDeps {
  readonly clock: Clock;
  readonly output: Output;
  /** Lines that were not written. */
  readonly onDropped: (lines: number) => void;
  /** That wait at most; default 1 MiB. */
  readonly maxBytes?: number;
}

export interface Output {
  readonly fd: number;
  /** A write to it says EAGAIN rather than that it waits. */
  readonly nonBlocking: boolean;
}

/** Standard output for writes that do not block, whatever the others who have it make of theirs. */
export function openStandardOutput(): Output {
  const stats = fstatSync(1);
  // Opened again it would have a place of its own, and what others write there would go over ours.
  if (stats.isFile()) return { fd: 1, nonBlocking: true };
  if (stats.isFIFO()) {
    try {
      const fd = openSync('/proc/self/fd/1', constants.O_WRONLY | constants.O_NONBLOCK);
      return { fd, nonBlocking: true };
    } catch {
      // It belongs to another user.
    }
  }
  // Node's threads wait for it.
  return { fd: 1, nonBlocking: false };
}

/**
 * PIPE_BUF of Linux: a pipe takes so much in one piece, and more perhaps with another writer's lines between the parts. There
 * are others: the process's own log, and those of its siblings.
 */
const pieceBytes = 4_096;
/** By a thread, where each write is a way there and back. */
const largePieceBytes = 65_536;
const defaultMaxBytes = 1_048_576;
/** How long a line may wait for others. */
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
  /** Being filled. ASCII, so that its length is that of its bytes. */
  #text = '';
  #lines = 0;
  #queue: Batch[] = [];
  #queuedBytes = 0;
  /** Under way, or to be tried again. */
  #busy = false;
  #cancelFlush: (() => void) | undefined;
  #onIdle: (() => void) | undefined;
  #closed = false;

  constructor(deps: LineWriterDeps) {
    this.#deps = deps;
    this.#maxBytes = deps.maxBytes ?? defaultMaxBytes;
    this.#batchBytes = deps.output.nonBlocking ? pieceBytes : largePieceBytes;
  }

  /** @param line ASCII, with its line end. */
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

  /** Writes what is there, for a second at most. No line is taken any more. */
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
    // Bytes at once: the text is a tree of pieces, of several times their size.
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
    // None where the end did not wait for it.
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
