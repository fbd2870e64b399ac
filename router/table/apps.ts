/** The apps that were called: each with its route, its targets, and its counts for the activity report. */
import type { Route } from '../../shared/protocol/routes.ts';
import type { UpstreamTarget } from '../upstream/target.ts';
import type { UpstreamTargets } from '../upstream/targets.ts';

export class App {
  readonly name: string;
  route: Route;
  /** False once the app was removed from the table. */
  routed = true;
  targets: readonly UpstreamTarget[] = [];
  /** The pending version whose start was asked for; null if the next call should ask. */
  askedPending: number | null = null;
  inFlight = 0;
  upgraded = 0;
  calls = 0;
  bytes = 0;
  /** The part of `inFlight` that does not keep the app awake. */
  passive = 0;
  /** When a call last came that keeps the app awake, in ms of the clock. */
  provenAtMs = -Infinity;
  lastActiveMs: number;
  /** Maximum number of calls and upgraded connections of the app in this router. */
  maxTotal = Infinity;
  #turn = 0;

  constructor(route: Route, nowMs: number) {
    this.name = route.app;
    this.route = route;
    this.lastActiveMs = nowMs;
  }

  /** Whether the app has as many calls and upgraded connections as it may have in this router. */
  get full(): boolean {
    return this.inFlight + this.upgraded >= this.maxTotal;
  }

  /**
   * Picks the target for a call, or undefined when all are set aside or at their limit. With few targets the least busy one is
   * picked. With many, it is the less busy one of two in turn, which spreads nearly as well at the same cost for any number.
   * @param fits a further condition.
   */
  pick(fits?: (target: UpstreamTarget) => boolean): UpstreamTarget | undefined {
    const { targets } = this;
    const count = targets.length;
    if (count === 0 || this.full) return undefined;
    this.#turn = (this.#turn + 1) % count;
    const sample = count <= 4 ? count : 2;
    return this.#best(sample, fits) ?? (sample < count ? this.#best(count, fits) : undefined);
  }

  #best(sample: number, fits: ((target: UpstreamTarget) => boolean) | undefined): UpstreamTarget | undefined {
    const { targets } = this;
    let best: UpstreamTarget | undefined;
    let least = Infinity;
    for (let step = 0; step < sample; step++) {
      const target = targets[(this.#turn + step) % targets.length];
      if (target === undefined || target.setAside) continue;
      // Upgraded connections are work too.
      const busy = target.inFlight + target.upgraded;
      if (busy >= target.limit || busy >= least) continue;
      if (fits !== undefined && !fits(target)) continue;
      best = target;
      least = busy;
    }
    return best;
  }
}

export class Apps {
  readonly #targets: UpstreamTargets;
  readonly #maxSockets: number;
  readonly #byName = new Map<string, App>();

  /** @param maxSockets maximum number of sockets in use to one target. */
  constructor(targets: UpstreamTargets, maxSockets: number) {
    this.#targets = targets;
    this.#maxSockets = maxSockets;
  }

  get(name: string): App | undefined {
    return this.#byName.get(name);
  }

  get size(): number {
    return this.#byName.size;
  }

  all(): IterableIterator<App> {
    return this.#byName.values();
  }

  upsert(route: Route, nowMs: number): App {
    let app = this.#byName.get(route.app);
    if (app === undefined) this.#byName.set(route.app, (app = new App(route, nowMs)));
    app.route = route;
    app.maxTotal = route.maxConcurrencyTotal ?? Infinity;
    this.#setTargets(
      app,
      route.serving.state === 'ready' ? route.serving.targets.map((t) => this.#targets.list(t)) : [],
    );
    const pending = route.serving.state === 'ready' ? route.serving.pending : null;
    if (app.askedPending !== pending) app.askedPending = null;
    return app;
  }

  remove(name: string): App | undefined {
    const app = this.#byName.get(name);
    if (app === undefined) return undefined;
    this.#byName.delete(name);
    app.routed = false;
    this.#setTargets(app, []);
    return app;
  }

  #setTargets(app: App, targets: readonly UpstreamTarget[]): void {
    const { maxConcurrency } = app.route;
    const limit = maxConcurrency > 0 ? Math.min(maxConcurrency, this.#maxSockets) : this.#maxSockets;
    for (const target of targets) target.bound(limit);
    const kept = new Set(targets);
    for (const old of app.targets) {
      if (!kept.has(old)) this.#targets.unlist(old);
    }
    app.targets = targets;
  }
}
