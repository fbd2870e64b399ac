/** One target: its calls, whether it takes connections, how many calls it may have, and the connections to it. */
import type { Route, Target } from '../../shared/protocol/routes.ts';
import { SlowStart, type Standing } from './slow-start.ts';
import { StalledAnswers } from './stalled-answers.ts';
import { H1Pool, type Reuse } from './h1-pool.ts';
import { H2Pool } from './h2-pool.ts';
import type { Transport, TransportDeps, TransportUser } from './transport.ts';

/**
 * Whether a target takes connections: `ready` · `fresh`: it gets a few calls at first (slow-start.ts) · `doubted`: a connection
 * was not made in time and there is no other target, so it is tried by one call at a time · `set_aside`: it gets no call until a
 * probe has got through (probes.ts). What the app answers, a 5xx also, has no part in this: that is the app's own word.
 */
export type TargetState = 'ready' | 'fresh' | 'doubted' | 'set_aside';
export const targetStates: readonly TargetState[] = ['ready', 'fresh', 'doubted', 'set_aside'];

export class UpstreamTarget {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** Calls being answered by it, upgraded connections not among them. */
  inFlight = 0;
  upgraded = 0;
  /** Of those in flight, whose body is not whole yet. */
  uploads = 0;
  /** And whose answer waits for its client. */
  readonly stalled = new StalledAnswers();
  /** Whether the route table names it. Only then new calls may pick it. */
  listed = true;
  /** Calls that it may have at once. */
  limit: number;
  setAside = false;
  /** Dials that failed, in a row. */
  failures = 0;
  #maxCalls = Infinity;
  #connecting = 0;
  /** Dials under way that were there at the last look. */
  #hanging = 0;
  #looks = 1;
  readonly #slowStart = new SlowStart();
  readonly #deps: TransportDeps;
  #h1: H1Pool | undefined;
  #h2: H2Pool | undefined;

  constructor(address: Target, deps: TransportDeps) {
    this.id = address.id;
    this.host = address.host;
    this.port = address.port;
    this.#deps = deps;
    this.limit = this.#slowStart.calls;
  }

  /** Gets a call a transport in the protocol of its app. This is the one place where HTTP/1.1 and HTTP/2 part. */
  open(user: TransportUser, protocol: Route['protocol'], reuse: Reuse): Transport {
    if (protocol === 'h2c') return (this.#h2 ??= new H2Pool(this, this.#deps)).take(user);
    return (this.#h1 ??= new H1Pool(this, this.#deps)).take(user, reuse);
  }

  /** Sockets to it, and how many of them are idle. */
  get sockets(): { readonly open: number; readonly idle: number } {
    return {
      open: (this.#h1?.open ?? 0) + (this.#h2?.open ?? 0),
      idle: (this.#h1?.idle ?? 0) + (this.#h2?.idle ?? 0),
    };
  }

  get busy(): boolean {
    return this.inFlight > 0 || this.upgraded > 0;
  }

  get state(): TargetState {
    if (this.setAside) return 'set_aside';
    if (this.failures > 0) return 'doubted';
    return this.#slowStart.over ? 'ready' : 'fresh';
  }

  /** Its last dial failed. */
  get doubted(): boolean {
    return this.failures > 0;
  }

  /** @param maxCalls at once, by configuration and by its app. */
  bound(maxCalls: number): void {
    this.#maxCalls = maxCalls;
    this.#setLimit();
  }

  /** Calls given to it that have no connection yet. */
  get connecting(): number {
    return this.#connecting;
  }

  /** A connection is being made for a call. @returns what `dialEnded` wants to know of it. */
  dialBegun(): number {
    this.#connecting += 1;
    return this.#looks;
  }

  dialEnded(begun: number): void {
    this.#connecting -= 1;
    if (begun === this.#looks) return;
    this.#hanging -= 1;
    this.#setLimit();
  }

  dialFailed(): void {
    this.failures += 1;
    this.#slowStart.keepTo(this.#standing.standing);
    this.#setLimit();
  }

  connected(): void {
    this.failures = 0;
  }

  /** A call has left it. */
  left(): void {
    if (this.#slowStart.over) return;
    this.#slowStart.answered(this.#standing);
    this.#setLimit();
  }

  /** A probe has got through: it may be another process than before. */
  takeBack(): void {
    this.failures = 0;
    this.setAside = false;
    this.#slowStart.restart();
    this.#setLimit();
  }

  /** To be told now and then while calls wait for room; see slow-start.ts. */
  look(): void {
    this.#slowStart.look(this.#standing);
    this.#hanging = this.#connecting;
    this.#looks += 1;
    this.#setLimit();
  }

  get #standing(): Standing {
    const connecting = this.#connecting;
    return { standing: this.inFlight + this.upgraded - connecting, connecting, hanging: this.#hanging };
  }

  #setLimit(): void {
    this.limit = Math.min(this.#maxCalls, this.#slowStart.calls + this.#hanging);
  }

  closeConnections(): void {
    this.#h1?.close();
    this.#h1 = undefined;
    this.#h2?.close();
    this.#h2 = undefined;
  }
}
