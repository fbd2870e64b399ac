/**
 * A client that has ended its half of the connection while its call is at an app. It looks like one that has closed, so it is
 * served only as long as it is being answered: it gets what begins within a moment, and no pause of that length.
 */
import type { Socket } from 'node:net';
import { unsentBytes } from '../io/socket-state.ts';

const patienceMs = 1_000;

export class HalfClose {
  /** When the client counts as gone, unless `extend` finds that it is being answered. */
  deadlineMs: number;
  readonly #socket: Socket;
  /** What the client had been sent at the last look. */
  #sentBytes: number;

  constructor(socket: Socket, nowMs: number) {
    this.#socket = socket;
    this.#sentBytes = socket.bytesWritten;
    this.deadlineMs = nowMs + patienceMs;
  }

  /** @returns whether the client has got or is getting something since the last look, and so may stay longer. */
  extend(nowMs: number): boolean {
    const { bytesWritten } = this.#socket;
    // A client that has closed would answer a write with a reset.
    if (unsentBytes(this.#socket) === 0 && bytesWritten <= this.#sentBytes) return false;
    this.#sentBytes = bytesWritten;
    this.deadlineMs = nowMs + patienceMs;
    return true;
  }
}
