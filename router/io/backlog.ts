/**
 * Bounds the bytes that wait for slow readers, of all streams in both directions together. Each stream may have a part before its
 * writer is paused. As the total fills, the part of each stream shrinks. When it is full, no stream with a backlog gets more, and
 * the streams that have been behind for longest are cut off: at once if the total still grows, otherwise after a moment, so that
 * readers who read nothing cannot keep it full. New calls continue, because most clients read their answers at once and must not
 * suffer from those who do not. While more than half is in use, streams that have been behind for longer are cut off too;
 * otherwise they could keep the parts of all others small.
 */
import type { Clock } from '../../shared/wait/clock.ts';
import { resetSocket, type Resettable } from './client-socket.ts';
import type { Deadlines, Timed } from './deadlines.ts';

/** The least part. Sockets fire 'drain' only if at least this much has waited, so a smaller part would be waited for in vain. */
export const leastPartBytes = 1_024;
/** From this multiple of the limit on, streams are cut off at once until the limit is kept. */
const over = 1.25;
/** When full, cut off readers that have been behind for this long, until this share of the limit is free. */
const patienceMs = 2_000;
const freed = 0.25;
/** From this share of the limit on, parts shrink, and readers that have been behind for this long are cut off. */
const tightFrom = 0.5;
const tightPatienceMs = 10_000;

export interface BacklogsDeps {
  readonly maxBytes: number;
  readonly partBytes: number;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly onCut: () => void;
}

export class Backlogs implements Timed {
  readonly #deps: BacklogsDeps;
  /** Streams with a backlog; those that have been behind for longest come first. */
  readonly #waiting = new Set<Backlog>();
  #bytes = 0;
  #cutting: NodeJS.Immediate | undefined;
  /** The bytes that may now wait for one reader before its writer is paused. */
  partBytes: number;
  full = false;
  /** More than half of the limit is in use. */
  tight = false;

  constructor(deps: BacklogsDeps) {
    this.#deps = deps;
    this.partBytes = deps.partBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  changed(backlog: Backlog, before: number, now: number): void {
    const { maxBytes, partBytes, deadlines, clock } = this.#deps;
    this.#bytes += now - before;
    if (now === 0) this.#waiting.delete(backlog);
    else if (before === 0) {
      backlog.sinceMs = clock.nowMs();
      this.#waiting.add(backlog);
    }
    const used = this.#bytes / maxBytes;
    const share = used >= 1 ? 0 : used > 0.75 ? 1 / 16 : used > tightFrom ? 1 / 4 : 1;
    this.partBytes = Math.min(partBytes, Math.max(leastPartBytes, partBytes * share));
    this.full = used >= 1;
    if (share < 1 !== this.tight) {
      this.tight = share < 1;
      if (this.tight) deadlines.add(this);
      else deadlines.delete(this);
    }
    if (used > over) this.#cutting ??= setImmediate(this.#cut);
  }

  checkDeadlines(nowMs: number): void {
    if (this.full) this.#cutDown(1 - freed, nowMs - patienceMs);
    this.#cutDown(tightFrom, nowMs - tightPatienceMs);
  }

  close(): void {
    clearImmediate(this.#cutting);
    this.#cutting = undefined;
    this.#deps.deadlines.delete(this);
  }

  readonly #cut = (): void => {
    this.#cutting = undefined;
    this.#cutDown(1, Infinity);
  };

  /** Cuts off streams that have been behind since `beforeMs`, the longest first, until this share of the limit is kept. */
  #cutDown(toShare: number, beforeMs: number): void {
    const { maxBytes, onCut } = this.#deps;
    for (const backlog of this.#waiting) {
      if (this.#bytes <= maxBytes * toShare || backlog.sinceMs > beforeMs) return;
      onCut();
      backlog.cut();
    }
  }
}

export class Backlog {
  readonly #all: Backlogs;
  readonly #socket: Resettable;
  #bytes = 0;
  #isCut = false;
  /** Since when the backlog has not been empty. */
  sinceMs = 0;

  constructor(all: Backlogs, socket: Resettable) {
    this.#all = all;
    this.#socket = socket;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @param bytes waiting now. @returns whether the reader is so far behind that its writer has to pause. */
  update(bytes: number): boolean {
    if (this.#isCut) return true;
    if (bytes !== this.#bytes) {
      const before = this.#bytes;
      this.#bytes = bytes;
      this.#all.changed(this, before, bytes);
    }
    return bytes > this.#all.partBytes;
  }

  /** To be called when the socket is closed. */
  close(): void {
    this.update(0);
  }

  /** Resets the stream, so that what its reader got does not look complete. Its backlog is dropped. */
  cut(): void {
    this.update(0);
    this.#isCut = true;
    resetSocket(this.#socket);
  }
}
