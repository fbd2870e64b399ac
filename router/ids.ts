/** Ids of requests and traces. */
import { randomFillSync, randomUUID } from 'node:crypto';

/** A trace id and a parent id: https://www.w3.org/TR/trace-context/#traceparent-header */
const traceBytes = 24;

export class Ids {
  readonly #random = Buffer.alloc(traceBytes * 256);
  #at = this.#random.length;

  requestId(): string {
    return randomUUID();
  }

  /** Of a trace that begins here. Sampled: an app whose sampler follows its caller would otherwise record nothing. */
  traceparent(): string {
    if (this.#at >= this.#random.length) {
      randomFillSync(this.#random);
      this.#at = 0;
    }
    const hex = this.#random.toString('hex', this.#at, this.#at + traceBytes);
    this.#at += traceBytes;
    return `00-${hex.slice(0, 32)}-${hex.slice(32)}-01`;
  }
}
