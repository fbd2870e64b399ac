/** Whether a peer takes anything of what waits for it. */
import type { Socket } from 'node:net';

export class WriteStall {
  /** When last looked at, and since when they are the same. */
  #waitingBytes = 0;
  #sinceMs = 0;

  /** @returns for how long nothing was taken; 0 where nothing waits. */
  stalledMs({ writableLength }: Socket, nowMs: number): number {
    if (writableLength !== this.#waitingBytes) {
      this.#waitingBytes = writableLength;
      this.#sinceMs = nowMs;
    }
    return writableLength === 0 ? 0 : nowMs - this.#sinceMs;
  }
}
