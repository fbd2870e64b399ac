/**
 * Bounds the bytes that are read ahead from all clients together: incomplete heads, the first bytes of the bodies of held calls,
 * and requests behind one that is not answered yet. Each connection may have a small amount that is not counted here.
 */
/** From this multiple of the limit on, calls that are held already are refused. */
const over = 1.25;

export class ReadAhead {
  readonly #maxBytes: number;
  #bytes = 0;
  #granted = 0;
  #grantedAtMs = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** No further call may be held. */
  get full(): boolean {
    return this.#bytes >= this.#maxBytes;
  }

  /** So far above the limit that calls which are held already must be refused. */
  get over(): boolean {
    return this.#bytes >= this.#maxBytes * over;
  }

  /** Whether there is room for bytes that merely save a retry. */
  get ample(): boolean {
    return this.#bytes < this.#maxBytes / 4;
  }

  /** Whether a held call may read ahead this much more. Grants use a part of the limit only, so that new calls find room. */
  grant(bytes: number, nowMs: number): boolean {
    if (nowMs !== this.#grantedAtMs) this.#granted = 0;
    this.#grantedAtMs = nowMs;
    // What was granted at the same time has not arrived yet.
    if (this.#bytes + this.#granted + bytes > this.#maxBytes / 4) return false;
    this.#granted += bytes;
    return true;
  }

  /** @param bytes read ahead; negative for bytes that are used or dropped. */
  take(bytes: number): void {
    this.#bytes += bytes;
  }
}
