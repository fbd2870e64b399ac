/** The targets that the route table names, and those that still have calls. */
import type { Target } from '../../shared/protocol/routes.ts';
import { onAbort } from '../../shared/wait/abort.ts';
import { UpstreamTarget, type TargetState } from './target.ts';
import type { TransportDeps } from './transport.ts';

export class UpstreamTargets {
  readonly #deps: TransportDeps;
  readonly #byId = new Map<string, UpstreamTarget>();
  /** Called whenever a target has become free. */
  readonly #watchers = new Set<() => void>();

  constructor(deps: TransportDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#byId.size;
  }

  /** @returns the target at that address, the same object as before while it has calls. */
  list(address: Target): UpstreamTarget {
    let target = this.#byId.get(address.id);
    if (target === undefined || target.host !== address.host || target.port !== address.port) {
      target?.closeConnections();
      target = new UpstreamTarget(address, this.#deps);
      this.#byId.set(address.id, target);
    }
    target.listed = true;
    return target;
  }

  /** Drains the target: no new call may pick it, its idle connections close, and its calls end in their time. */
  unlist(target: UpstreamTarget): void {
    target.listed = false;
    target.closeConnections();
    this.#forget(target);
  }

  /** Must be called after a call or a tunnel has left the target. */
  left(target: UpstreamTarget): void {
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

  /** The number of listed targets in each state. */
  states(): Record<TargetState, number> {
    const counts = { ready: 0, fresh: 0, doubted: 0, set_aside: 0 };
    for (const target of this.#byId.values()) if (target.listed) counts[target.state] += 1;
    return counts;
  }

  /** Resolves when the targets have no calls and no tunnels, or when the signal aborts. */
  async whenFree(ids: readonly string[], signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const check = (): void => {
      const { inFlight, upgraded } = this.count(ids);
      if (inFlight + upgraded === 0) resolve();
    };
    this.#watchers.add(check);
    using _listener = onAbort(signal, resolve);
    check();
    await promise;
    this.#watchers.delete(check);
  }

  /** Connections to all targets: open ones, idle ones, and the most to one target. */
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

  #forget(target: UpstreamTarget): void {
    if (!target.busy && this.#byId.get(target.id) === target) this.#byId.delete(target.id);
  }
}
