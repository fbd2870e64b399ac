/**
 * What HTTP/2 may have of the router in all: one of its connections costs several times one of HTTP/1.1, and has many calls,
 * which no other bound counts.
 */
export class Http2Room {
  readonly #maxSessions: number;
  readonly #maxStreams: number;
  #sessions = 0;
  #streams = 0;

  constructor(limits: { readonly maxSessions: number; readonly maxStreams: number }) {
    this.#maxSessions = limits.maxSessions;
    this.#maxStreams = limits.maxStreams;
  }

  get sessions(): number {
    return this.#sessions;
  }

  get streams(): number {
    return this.#streams;
  }

  /** No further connection. */
  get full(): boolean {
    return this.#sessions >= this.#maxSessions;
  }

  takeSession(): void {
    this.#sessions += 1;
  }

  sessionGone(): void {
    this.#sessions -= 1;
  }

  /** @returns whether there is room for one more. */
  takeStream(): boolean {
    if (this.#streams >= this.#maxStreams) return false;
    this.#streams += 1;
    return true;
  }

  streamGone(): void {
    this.#streams -= 1;
  }
}
