/** Ids of requests and traces: random bytes, generated in batches, and formatted where they are needed. */
import { randomFillSync } from 'node:crypto';

/** 16 bytes that serve as request id and as trace id, then 8 bytes of a parent id. */
const idBytes = 24;
const idsOfPool = 1_024;

/** The ids of one call: bytes of a pool from `at` on. */
export interface CallIds {
  readonly bytes: Buffer;
  readonly at: number;
}

export class Ids {
  #pool = Buffer.alloc(0);
  #at = 0;

  next(): CallIds {
    if (this.#at >= this.#pool.length) {
      // A new pool, because calls that wait keep the old one.
      this.#pool = randomFillSync(Buffer.allocUnsafeSlow(idBytes * idsOfPool));
      this.#at = 0;
    }
    const pool = this.#pool;
    const at = this.#at;
    this.#at += idBytes;
    // RFC 9562 §5.4: version 4.
    pool[at + 6] = ((pool[at + 6] as number) & 0x0f) | 0x40;
    pool[at + 8] = ((pool[at + 8] as number) & 0x3f) | 0x80;
    return { bytes: pool, at };
  }
}

/** Formats the request id. */
export function uuidOf({ bytes, at }: CallIds): string {
  const hex = bytes.toString('hex', at, at + 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
