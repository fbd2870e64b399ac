/**
 * What HTTP/2 may take of the router in all: one of its connections costs several times one of HTTP/1.1, and carries many calls,
 * which no other limit counts.
 */
export class Http2Capacity {
  connections = 0;
  streams = 0;
  readonly #limits: { readonly maxConnections: number; readonly maxStreams: number };

  constructor(limits: { readonly maxConnections: number; readonly maxStreams: number }) {
    this.#limits = limits;
  }

  get isFull(): boolean {
    return this.connections >= this.#limits.maxConnections;
  }

  get hasStream(): boolean {
    return this.streams < this.#limits.maxStreams;
  }
}
