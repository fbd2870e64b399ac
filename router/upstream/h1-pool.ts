/**
 * HTTP/1.1 connections to one target: dialled, used by one call at a time, kept idle for the next.
 *
 * The app may close an idle connection at the moment when a request is written to it, and then nobody knows whether the
 * request was processed. So a request that must not be sent twice gets a connection that was used within the last second: no
 * server's idle timeout is that short, and when a pod is killed its FIN has long been read. Requests that may be sent twice
 * take any connection younger than the common five seconds of app servers, and go once more over a new one if that fails. The
 * connection used last is taken first, so that surplus ones age out. An idle connection that receives anything is destroyed.
 *
 * An app that sends more than its answer may do so when the next call already has the connection, and the bytes would look like
 * the beginning of that call's answer. So connections to a target that has sent such bytes are not reused for a while.
 */
import type { UpstreamConnection, Address } from './connection.ts';
import { H1Transport, type TransportPool } from './h1-transport.ts';
import type { TransportDeps, TransportUser } from './transport.ts';

/** Which idle connections a call may reuse: any · those used within the last second · none, so that it dials. */
export type Reuse = 'any' | 'recent' | 'none';

/** An idle connection is closed at this age. */
const maxIdleMs = 4_000;
/** A request that must not be sent twice may reuse a connection that was idle for at most this long. */
const recentMs = 1_000;
/** Connections are not reused for this long after a target has sent bytes that no call asked for. */
const distrustMs = 60_000;

export class H1Pool implements TransportPool {
  readonly #address: Address;
  readonly #deps: TransportDeps;
  readonly #idle: H1Transport[] = [];
  #open = 0;
  #closed = false;
  #distrustedUntilMs = 0;

  constructor(address: Address, deps: TransportDeps) {
    this.#address = address;
    this.#deps = deps;
  }

  /** Includes those being dialled. */
  get open(): number {
    return this.#open;
  }

  get idle(): number {
    return this.#idle.length;
  }

  /** @returns an idle transport, or one whose connection is being dialled. */
  take(user: TransportUser, reuse: Reuse): H1Transport {
    const last = this.#idle.at(-1);
    // The others have been idle for longer.
    if (last !== undefined && reuse !== 'none') {
      const idleMs = this.#deps.clock.nowMs() - last.idleSinceMs;
      if (idleMs <= (reuse === 'any' ? maxIdleMs : recentMs)) {
        this.#idle.pop();
        last.reuse(user);
        return last;
      }
    }
    const transport = new H1Transport(this.#address, this, user, this.#deps);
    this.#open += 1;
    this.#deps.deadlines.add(transport.connection);
    return transport;
  }

  release(transport: H1Transport, keepMs: number): void {
    const { connection } = transport;
    const nowMs = this.#deps.clock.nowMs();
    const unwanted = this.#closed || this.#idle.length >= this.#deps.maxIdle || nowMs < this.#distrustedUntilMs;
    if (unwanted || keepMs <= 0 || connection.destroyed || connection.writeFailure !== undefined) {
      connection.destroy();
      return;
    }
    transport.idleSinceMs = nowMs;
    connection.deadlineMs = nowMs + Math.min(maxIdleMs, keepMs);
    this.#idle.push(transport);
  }

  closed(connection: UpstreamConnection): void {
    this.#open -= 1;
    this.#deps.deadlines.delete(connection);
    const index = this.#idle.findLastIndex((transport) => transport.connection === connection);
    if (index >= 0) this.#idle.splice(index, 1);
  }

  distrust(): void {
    this.#distrustedUntilMs = this.#deps.clock.nowMs() + distrustMs;
    this.#closeIdle();
  }

  /** Closes idle connections now, and the others after their call. */
  close(): void {
    this.#closed = true;
    this.#closeIdle();
  }

  #closeIdle(): void {
    for (const { connection } of this.#idle.splice(0)) connection.destroy();
  }
}
