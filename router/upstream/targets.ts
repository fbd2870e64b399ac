/** Every target the router knows or still has calls on: how many, whether it is set aside, and its connections. */
import type { Route, Target as TargetAddress } from '../../shared/protocol/routes.ts';
import { SlowStart, type Standing } from './slow-start.ts';
import { StalledAnswers } from './stalled-answers.ts';
import { H1Pool, type Reuse } from './h1-pool.ts';
import { H2Pool } from './h2-pool.ts';
import type { Transport, TransportDeps, TransportUser } from './transport.ts';

/** What this side knows of an app. */
export interface UpstreamApp {
  readonly name: string;
  readonly route: Route;
  readonly targets: readonly Target[];
  /** Bytes of heads and bodies, both ways. */
  bytes: number;
}

/**
 * Whether a target takes connections: `ready` · `fresh`: it gets a few calls at first (slow-start.ts) · `doubted`: a connection
 * was not made in time and there is no other target, so it is tried by one call at a time · `set_aside`: it gets no call until a
 * probe has got through (probes.ts). What the app answers, a 5xx also, has no part in this: that is the app's own word.
 */
export type TargetState = 'ready' | 'fresh' | 'doubted' | 'set_aside';
export const targetStates: readonly TargetState[] = ['ready', 'fresh', 'doubted', 'set_aside'];

export class Target {
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

  constructor(address: TargetAddress, deps: TransportDeps) {
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

export class Targets {
  readonly #deps: TransportDeps;
  readonly #byId = new Map<string, Target>();
  /** Who waits until a target is free. */
  readonly #watchers = new Set<() => void>();

  constructor(deps: TransportDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** The target of that address, the same object as before while any call is on it. */
  list(address: TargetAddress): Target {
    let target = this.#byId.get(address.id);
    if (target === undefined || target.host !== address.host || target.port !== address.port) {
      target?.closeConnections();
      target = new Target(address, this.#deps);
      this.#byId.set(address.id, target);
    }
    target.listed = true;
    return target;
  }

  /** No new call may pick it; its kept-alive sockets go, the calls on it end in their time. */
  unlist(target: Target): void {
    target.listed = false;
    target.closeConnections();
    this.#forget(target);
  }

  /** To be told after a call or an upgraded connection has left the target. */
  left(target: Target): void {
    target.left();
    if (target.busy) return;
    if (!target.listed) this.#forget(target);
    for (const watcher of this.#watchers) watcher();
  }

  count(ids: readonly string[]): { inFlight: number; upgraded: number } {
    let inFlight = 0;
    let upgraded = 0;
    for (const id of ids) {
      const target = this.#byId.get(id);
      inFlight += target?.inFlight ?? 0;
      upgraded += target?.upgraded ?? 0;
    }
    return { inFlight, upgraded };
  }

  all(): Iterable<Target> {
    return this.#byId.values();
  }

  /** How many there are, by state. */
  states(): Record<TargetState, number> {
    const counts = { ready: 0, fresh: 0, doubted: 0, set_aside: 0 };
    for (const target of this.#byId.values()) if (target.listed) counts[target.state] += 1;
    return counts;
  }

  /** Resolves as soon as nothing is on the targets, or when the signal aborts. */
  whenFree(ids: readonly string[], signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#watchers.delete(check);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const check = (): void => {
        const { inFlight, upgraded } = this.count(ids);
        if (inFlight + upgraded === 0) done();
      };
      this.#watchers.add(check);
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted) done();
      else check();
    });
  }

  /** Sockets to targets: all, the idle among them, and the most to one. */
  sockets(): { readonly open: number; readonly idle: number; readonly maxOfTarget: number } {
    let all = { open: 0, idle: 0, maxOfTarget: 0 };
    for (const target of this.#byId.values()) {
      const { open, idle } = target.sockets;
      all = { open: all.open + open, idle: all.idle + idle, maxOfTarget: Math.max(all.maxOfTarget, open) };
    }
    return all;
  }

  close(): void {
    for (const target of this.#byId.values()) target.closeConnections();
  }

  #forget(target: Target): void {
    if (!target.busy && this.#byId.get(target.id) === target) this.#byId.delete(target.id);
  }
}
