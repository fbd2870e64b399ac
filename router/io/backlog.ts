/**
 * Bytes that wait for slow readers, of all streams in both directions. Each stream may have a part by itself before its writer is
 * held up; this is what they may have together. As it fills, the part of each becomes smaller. When it is full, nobody gets more
 * who has something waiting, and those are cut off for whom something has waited longest without a pause: at once where it grows
 * all the same, else after a moment, so that readers who take nothing cannot keep it full. New calls go on: most callers take
 * their answers at once, and are not to suffer by those who do not. While more than half is in use those go that have not taken
 * all for longer: else they could keep the others at their small parts.
 */
import type { Clock } from '../../shared/wait/clock.ts';
import { resetSocket, type Resettable } from './client-socket.ts';
import type { Deadlines, Timed } from './deadlines.ts';

/** Sockets tell when they have sent all of so much, or more, that waited: a smaller part would be waited for in vain. */
export const leastPartBytes = 1_024;
/** Over the limit by this share, streams are cut off at once until it is kept again. */
const over = 1.25;
/** Once it is full: a reader who has not taken all for so long goes, until this share of the limit is free. */
const patienceMs = 2_000;
const freed = 0.25;
/** From this share on each may have less, and those go that have not taken all for so long. */
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
  /** Those with something waiting, by the time since which that is so. */
  readonly #waiting = new Set<Backlog>();
  #bytes = 0;
  #cutting: NodeJS.Immediate | undefined;
  /** That may wait for one reader before its writer is held up, now. */
  partBytes: number;
  full = false;
  /** More than half of it is in use. */
  tight = false;

  constructor(deps: BacklogsDeps) {
    this.#deps = deps;
    this.partBytes = deps.partBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Streams with something waiting. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** For `Backlog`. */
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

  /** Those first that have waited longest, of those that have waited since `beforeMs`. */
  #cutDown(toShare: number, beforeMs: number): void {
    const { maxBytes, onCut } = this.#deps;
    for (const backlog of this.#waiting) {
      if (this.#bytes <= maxBytes * toShare || backlog.sinceMs > beforeMs) return;
      onCut();
      backlog.cut();
    }
  }
}

/** What waits for one reader. */
export class Backlog {
  readonly #all: Backlogs;
  readonly #socket: Resettable;
  #bytes = 0;
  #isCut = false;
  /** Since when something has waited without a pause. */
  sinceMs = 0;

  constructor(all: Backlogs, socket: Resettable) {
    this.#all = all;
    this.#socket = socket;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @param bytes that wait now. @returns whether the reader is so far behind that its writer has to wait. */
  note(bytes: number): boolean {
    if (this.#isCut) return true;
    if (bytes !== this.#bytes) {
      const before = this.#bytes;
      this.#bytes = bytes;
      this.#all.changed(this, before, bytes);
    }
    return bytes > this.#all.partBytes;
  }

  /** The socket is closed. */
  close(): void {
    this.note(0);
  }

  /** By a reset: what has come of the stream must not look like all of it. What waits is gone with it. */
  cut(): void {
    this.note(0);
    this.#isCut = true;
    resetSocket(this.#socket);
  }
}
