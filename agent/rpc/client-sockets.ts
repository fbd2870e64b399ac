/**
 * Bounds the open sockets of the agent's port. When all places are taken, a newcomer gets that of the oldest socket on which nobody has shown
 * a token, so that silent sockets keep nobody out who has one.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export class ClientSockets {
  readonly #max: number;
  readonly #known = new Set<Duplex>();
  /** In the order in which they were opened. */
  readonly #unknown = new Set<Duplex>();

  constructor(max: number) {
    this.#max = max;
  }

  /** To be called for each new socket, which is destroyed if all others belong to callers with a token. */
  opened(socket: Socket): void {
    if (this.#known.size + this.#unknown.size >= this.#max) {
      const [oldest] = this.#unknown;
      if (oldest === undefined) {
        socket.destroy();
        return;
      }
      this.#unknown.delete(oldest);
      oldest.destroy();
    }
    this.#unknown.add(socket);
    socket.once('close', () => {
      this.#unknown.delete(socket);
      this.#known.delete(socket);
    });
  }

  /** A known token was shown on the socket. */
  authenticated(socket: Duplex): void {
    if (this.#unknown.delete(socket)) this.#known.add(socket);
  }
}
