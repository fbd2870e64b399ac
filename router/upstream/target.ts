/** One target: its calls, whether it takes connections, how many calls it may have, and the connections to it. */
import type { Route, Target } from '../../shared/protocol/routes.ts';
import { SlowStart, type Standing } from './slow-start.ts';
import { StalledAnswers } from './stalled-answers.ts';
import { H1Pool, type Reuse } from './h1-pool.ts';
import { H2Pool } from './h2-pool.ts';
import type { Transport, TransportDeps, TransportUser } from './transport.ts';

/**
 * Whether a target takes connections: `ready` · `fresh`: it gets only a few calls at first (slow-start.ts) · `doubted`: a
 * connection was not made in time and the app has no other target, so one call at a time tries it · `set_aside`: suspect, it
 * gets no call until a probe gets through (probes.ts). What the app answers, even a 5xx, plays no part in this.
 */
export type TargetState = 'ready' | 'fresh' | 'doubted' | 'set_aside';
export const targetStates: readonly TargetState[] = ['ready', 'fresh', 'doubted', 'set_aside'];

export class UpstreamTarget {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** Calls sent to it and not finished, without tunnels. */
  inFlight = 0;
  upgraded = 0;
  /** Calls in flight whose request body is still arriving. */
  uploads = 0;
  /** Calls in flight whose client does not keep up with the answer. */
  readonly stalled = new StalledAnswers();
  /** Whether the route table lists it. Only then may new calls pick it. */
  listed = true;
  /** Calls and tunnels that it may have at once. */
  limit: number;
  setAside = false;
  /** Dials that failed since the last connection. */
  failures = 0;
  #maxCalls = Infinity;
  #connecting = 0;
  /** Dials that were under way at the last look and still are. */
  #hanging = 0;
  /** Looks so far, from 1. */
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

  /** @returns a transport of the app's protocol. Only here does the router choose between HTTP/1.1 and HTTP/2. */
  open(user: TransportUser, protocol: Route['protocol'], reuse: Reuse): Transport {
    if (protocol === 'h2c') return (this.#h2 ??= new H2Pool(this, this.#deps)).take(user);
    return (this.#h1 ??= new H1Pool(this, this.#deps)).take(user, reuse);
  }

  /** Connections to it, and how many of them are idle. */
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

  /** Whether its last dial failed. */
  get doubted(): boolean {
    return this.failures > 0;
  }

  /** @param maxCalls at once, by the configuration of the router and of the app. */
  bound(maxCalls: number): void {
    this.#maxCalls = maxCalls;
    this.#setLimit();
  }

  /** Calls in flight that have no connection yet. */
  get connecting(): number {
    return this.#connecting;
  }

  /** Counts a connection that is being made for a call. @returns a token for `dialEnded`. */
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

  /** A call or a tunnel has left it. */
  left(): void {
    if (this.#slowStart.over) return;
    this.#slowStart.answered(this.#standing);
    this.#setLimit();
  }

  /** A probe got through. The target may be another process than before. */
  readmit(): void {
    this.failures = 0;
    this.setAside = false;
    this.#slowStart.restart();
    this.#setLimit();
  }

  /** Must be called every `lookEveryMs` (slow-start.ts) while calls wait for room. */
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
