/**
 * What HTTP/2 may take of the router in all: one of its connections costs several times one of HTTP/1.1, and carries many calls,
 * which no other limit counts.
 */
export class Http2Capacity {
  readonly #maxConnections: number;
  readonly #maxStreams: number;
  #connections = 0;
  #streams = 0;

  constructor(limits: { readonly maxConnections: number; readonly maxStreams: number }) {
    this.#maxConnections = limits.maxConnections;
    this.#maxStreams = limits.maxStreams;
  }

  get connections(): number {
    return this.#connections;
  }

  get streams(): number {
    return this.#streams;
  }

  get isFull(): boolean {
    return this.#connections >= this.#maxConnections;
  }

  addConnection(): void {
    this.#connections += 1;
  }

  removeConnection(): void {
    this.#connections -= 1;
  }

  /** @returns false when there is no room for one more. */
  addStream(): boolean {
    if (this.#streams >= this.#maxStreams) return false;
    this.#streams += 1;
    return true;
  }

  removeStream(): void {
    this.#streams -= 1;
  }
}
