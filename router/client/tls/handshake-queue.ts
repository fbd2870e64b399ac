/**
 * Connections that wait for their handshake to begin. Clients take turns, so that one with thousands of connections delays none
 * that has a single one. Of one client the newest goes first, since one that has waited for long is likely to have given up.
 * `Semaphore` of shared/wait serves a key in order and with a promise for each; here both would help whoever floods the router.
 */
export interface QueuedHandshake {
  /** Whose turn it takes. */
  readonly client: string;
  /** It does not wait any more. */
  readonly gone: boolean;
}

export class HandshakeQueue<H extends QueuedHandshake> {
  /** The client whose turn is next comes first, and the newest of each client last. Some may have gone meanwhile. */
  readonly #clients = new Map<string, H[]>();
  #listed = 0;
  #waiting = 0;

  /** Counts those that wait. */
  get size(): number {
    return this.#waiting;
  }

  add(handshake: H): void {
    const own = this.#clients.get(handshake.client);
    if (own === undefined) this.#clients.set(handshake.client, [handshake]);
    else own.push(handshake);
    this.#listed += 1;
    this.#waiting += 1;
  }

  /** One of those that waited has gone. */
  left(): void {
    this.#waiting -= 1;
    if (this.#listed <= 2 * this.#waiting + 64) return;
    this.#listed = 0;
    for (const [client, own] of this.#clients) {
      const rest = own.filter(({ gone }) => !gone);
      this.#listed += rest.length;
      if (rest.length === 0) this.#clients.delete(client);
      else this.#clients.set(client, rest);
    }
  }

  /** Takes the next one. @param may whether a client may have a turn now. */
  next(may: (client: string) => boolean): H | undefined {
    for (const [client, own] of this.#clients) {
      if (!may(client)) continue;
      const handshake = this.#newest(own);
      this.#clients.delete(client);
      // Behind all other clients.
      if (own.length > 0) this.#clients.set(client, own);
      if (handshake === undefined) continue;
      this.#waiting -= 1;
      return handshake;
    }
    return undefined;
  }

  #newest(own: H[]): H | undefined {
    for (;;) {
      const handshake = own.pop();
      if (handshake === undefined) return undefined;
      this.#listed -= 1;
      if (!handshake.gone) return handshake;
    }
  }
}
