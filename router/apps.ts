/** What the router keeps for each app of the table: its route, its targets, and what is counted for the activity report. */
import type { Route } from '../shared/protocol/routes.ts';
import type { Target, Targets } from './targets.ts';

export class App {
  readonly name: string;
  route: Route;
  /** False once the table has no such app any more. */
  routed = true;
  targets: readonly Target[] = [];
  /** The pending version whose start has been asked for; null: the next call asks. */
  askedPending: number | null = null;
  inFlight = 0;
  upgraded = 0;
  calls = 0;
  bytes = 0;
  lastActiveMs: number;
  readonly #maxSockets: number;
  #turn = 0;

  constructor(route: Route, nowMs: number, maxSockets: number) {
    this.#maxSockets = maxSockets;
    this.name = route.app;
    this.route = route;
    this.lastActiveMs = nowMs;
  }

  /**
   * The target for a call, or undefined when all are set aside or at `maxConcurrency`. Of a few all are looked at; of
   * many, two by turn and the less busy one is taken, which spreads nearly as well and costs the same for any number.
   * @param fits a further condition.
   */
  pick(nowMs: number, fits?: (target: Target) => boolean): Target | undefined {
    const { targets } = this;
    const count = targets.length;
    if (count === 0) return undefined;
    this.#turn = (this.#turn + 1) % count;
    const sample = count <= 4 ? count : 2;
    return this.#best(nowMs, sample, fits) ?? (sample < count ? this.#best(nowMs, count, fits) : undefined);
  }

  #best(nowMs: number, sample: number, fits: ((target: Target) => boolean) | undefined): Target | undefined {
    const { targets } = this;
    const { maxConcurrency } = this.route;
    const limit = maxConcurrency > 0 ? Math.min(maxConcurrency, this.#maxSockets) : this.#maxSockets;
    let best: Target | undefined;
    for (let step = 0; step < sample; step++) {
      const target = targets[(this.#turn + step) % targets.length];
      if (target === undefined || !target.usable(nowMs)) continue;
      if (target.inFlight + target.upgraded >= limit) continue;
      if (fits !== undefined && !fits(target)) continue;
      if (best === undefined || target.inFlight < best.inFlight) best = target;
    }
    return best;
  }
}

export class Apps {
  readonly #targets: Targets;
  readonly #maxSockets: number;
  readonly #byName = new Map<string, App>();

  /** @param maxSockets in use to one target at most. */
  constructor(targets: Targets, maxSockets: number) {
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
    if (app === undefined) this.#byName.set(route.app, (app = new App(route, nowMs, this.#maxSockets)));
    app.route = route;
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

  #setTargets(app: App, targets: readonly Target[]): void {
    const kept = new Set(targets);
    for (const old of app.targets) {
      if (!kept.has(old)) this.#targets.unlist(old);
    }
    app.targets = targets;
  }
}
