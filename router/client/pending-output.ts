/** The bytes of answers that one client has still to take: counted with those of all others, and watched for a client that stalls. */
import type { Writable } from 'node:stream';
import { Backlog, type Backlogs } from '../io/backlog.ts';
import type { Resettable } from '../io/client-socket.ts';
import { heldBytes, willDrain, unsentBytes } from '../io/socket-state.ts';

/** Copy parts of answers up to this size, so that the buffer that they were read into is free for the next read. */
export const maxCopiedBytes = 16_384;

export class PendingOutput {
  readonly #stream: Writable;
  readonly #backlog: Backlog;
  #lastBytes = 0;
  /** Since when `#lastBytes` has not changed. */
  #sinceMs = 0;

  /** @param stream a socket of HTTP/1.1, or a stream of HTTP/2. */
  constructor(stream: Writable & Resettable, backlogs: Backlogs) {
    this.#stream = stream;
    this.#backlog = new Backlog(backlogs, stream);
  }

  get bytes(): number {
    return unsentBytes(this.#stream);
  }

  /** @returns whether the client is so far behind that its answer has to pause; 'drain' then says when to go on. */
  update(): boolean {
    return this.#backlog.update(heldBytes(this.#stream)) && willDrain(this.#stream);
  }

  /** @returns for how long the client has taken nothing; 0 while nothing waits. */
  stalledMs(nowMs: number): number {
    const { bytes } = this;
    if (bytes !== this.#lastBytes) {
      this.#lastBytes = bytes;
      this.#sinceMs = nowMs;
    }
    return bytes === 0 ? 0 : nowMs - this.#sinceMs;
  }

  /** The stream is closed. */
  close(): void {
    this.#backlog.close();
  }
}
