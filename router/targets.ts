/** Every target the router knows or still has calls on: how many, whether it is set aside, and its connections. */
import type { Target as TargetAddress } from '../shared/protocol/routes.ts';
import { UpstreamPool, type UpstreamOptions } from './upstream.ts';

/** Set aside after a failed dial: doubles with each failure in a row. Meanwhile the agent is asked to look at it. */
const setAsideMinMs = 50;
const setAsideMaxMs = 2_000;

export class Target {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** Calls being answered by it, upgraded connections not among them. */
  inFlight = 0;
  upgraded = 0;
  /** Calls given to it that have no connection yet. */
  connecting = 0;
  /** Whether the route table names it. Only then new calls may pick it. */
  listed = true;
  #failures = 0;
  #setAsideUntilMs = 0;
  readonly #options: UpstreamOptions;
  #pool: UpstreamPool | undefined;

  constructor(address: TargetAddress, options: UpstreamOptions) {
    this.id = address.id;
    this.host = address.host;
    this.port = address.port;
    this.#options = options;
  }

  get pool(): UpstreamPool {
    return (this.#pool ??= new UpstreamPool(this, this.#options));
  }

  /** Sockets to it, and how many of them are idle. */
  get sockets(): { readonly open: number; readonly idle: number } {
    return { open: this.#pool?.open ?? 0, idle: this.#pool?.idle ?? 0 };
  }

  get busy(): boolean {
    return this.inFlight > 0 || this.upgraded > 0;
  }

  get setAsideUntilMs(): number {
    return this.#setAsideUntilMs;
  }

  /** Its last dial failed. */
  get doubted(): boolean {
    return this.#failures > 0;
  }

  usable(nowMs: number): boolean {
    return this.#failures === 0 || nowMs >= this.#setAsideUntilMs;
  }

  /** Nothing listens there, or not now. */
  dialFailed(nowMs: number): void {
    this.#failures += 1;
    this.#setAsideUntilMs = nowMs + Math.min(setAsideMaxMs, setAsideMinMs * 2 ** Math.min(this.#failures, 10));
  }

  connected(): void {
    this.#failures = 0;
  }

  /** The agent has looked at it and keeps it: tried at once, unless that has just been in vain more than once. */
  vouchedFor(): void {
    if (this.#failures <= 2) this.#setAsideUntilMs = 0;
  }

  closeConnections(): void {
    this.#pool?.close();
    this.#pool = undefined;
  }
}

export class Targets {
  readonly #options: UpstreamOptions;
  readonly #byId = new Map<string, Target>();
  /** Who waits until a target is free. */
  readonly #watchers = new Set<() => void>();

  constructor(options: UpstreamOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** The target of that address, the same object as before while any call is on it. */
  list(address: TargetAddress): Target {
    let target = this.#byId.get(address.id);
    if (target === undefined || target.host !== address.host || target.port !== address.port) {
      target?.closeConnections();
      target = new Target(address, this.#options);
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
