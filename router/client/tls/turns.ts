/**
 * Who waits for a turn, and whose it is next: clients in turn, so that one with thousands of connections holds up none that has
 * a single one; and of one client the newest first, since who has waited for long is likely to have given up.
 */
export interface Waiter {
  /** Whose it is. */
  readonly client: string;
  /** It wants its turn no more. */
  readonly gone: boolean;
}

export class Turns<W extends Waiter> {
  /** The client whose turn is next first, the newest of each last; some may have gone meanwhile. */
  readonly #clients = new Map<string, W[]>();
  #listed = 0;
  #waiting = 0;

  /** That have not gone. */
  get size(): number {
    return this.#waiting;
  }

  add(waiter: W): void {
    const own = this.#clients.get(waiter.client);
    if (own === undefined) this.#clients.set(waiter.client, [waiter]);
    else own.push(waiter);
    this.#listed += 1;
    this.#waiting += 1;
  }

  /** One of those that wait has gone. */
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
  next(may: (client: string) => boolean): W | undefined {
    for (const [client, own] of this.#clients) {
      if (!may(client)) continue;
      const waiter = this.#newest(own);
      this.#clients.delete(client);
      // Behind all others.
      if (own.length > 0) this.#clients.set(client, own);
      if (waiter === undefined) continue;
      this.#waiting -= 1;
      return waiter;
    }
    return undefined;
  }

  #newest(own: W[]): W | undefined {
    for (;;) {
      const waiter = own.pop();
      if (waiter === undefined) return undefined;
      this.#listed -= 1;
      if (!waiter.gone) return waiter;
    }
  }
}
