/** What the router keeps for each app of the table: its route, its targets, and what is counted for the activity report. */
import type { Route } from '../../shared/protocol/routes.ts';
import type { UpstreamTarget } from '../upstream/target.ts';
import type { UpstreamTargets } from '../upstream/targets.ts';

export class App {
  readonly name: string;
  route: Route;
  /** False once the table has no such app any more. */
  routed = true;
  targets: readonly UpstreamTarget[] = [];
  /** The pending version whose start has been asked for; null: the next call asks. */
  askedPending: number | null = null;
  inFlight = 0;
  upgraded = 0;
  calls = 0;
  bytes = 0;
  /** Of `inFlight`, those that are no reason to keep it awake. */
  passive = 0;
  /** When a call last came that is one. */
  provenAtMs = -Infinity;
  lastActiveMs: number;
  /** Calls and upgraded connections that it may have in this router. */
  maxTotal = Infinity;
  #turn = 0;

  constructor(route: Route, nowMs: number) {
    this.name = route.app;
    this.route = route;
    this.lastActiveMs = nowMs;
  }

  /** It has as many calls as it may have in this router. */
  get full(): boolean {
    return this.inFlight + this.upgraded >= this.maxTotal;
  }

  /**
   * The target for a call, or undefined when all are set aside or at their limit. Of a few all are looked at; of many, two by
   * turn and the less busy one is taken, which spreads nearly as well and costs the same for any number.
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
      // An open WebSocket is work too.
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

  /** @param maxSockets in use to one target at most. */
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
