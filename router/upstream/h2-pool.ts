/** HTTP/2 connections to one target, each with as many streams as the app takes. */
import type { Address } from './connection.ts';
import { UpstreamSession } from './h2-session.ts';
import { H2Transport } from './h2-transport.ts';
import type { TransportDeps, TransportUser } from './transport.ts';

export class H2Pool {
  readonly #address: Address;
  readonly #deps: TransportDeps;
  readonly #sessions = new Set<UpstreamSession>();

  constructor(address: Address, deps: TransportDeps) {
    this.#address = address;
    this.#deps = deps;
  }

  get open(): number {
    return this.#sessions.size;
  }

  get idle(): number {
    let idle = 0;
    for (const session of this.#sessions) if (session.inUse === 0) idle += 1;
    return idle;
  }

  take(user: TransportUser): H2Transport {
    return new H2Transport(this.#withRoom(), user, this.#deps);
  }

  /** The first connection with room, so that those not needed grow idle; a new one if there is none. */
  #withRoom(): UpstreamSession {
    for (const session of this.#sessions) if (session.hasRoom) return session;
    const session = new UpstreamSession(this.#address, this.#deps, (closed) => void this.#sessions.delete(closed));
    this.#sessions.add(session);
    return session;
  }

  close(): void {
    for (const session of this.#sessions) session.close();
  }
}
