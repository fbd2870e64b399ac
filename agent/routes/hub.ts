/**
 * The route table as routers should have it, pushed to each and acknowledged by each. The strict version check rests on `settled`: once it
 * resolves, no router can treat a later call by an older table.
 */
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Route } from '../../shared/protocol/routes.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { watchUntil } from '../../shared/wait/watch-until.ts';
import { RouteWatch, type WatchOptions } from './route-watch.ts';

export interface RouterStatus {
  readonly router: string;
  readonly connectedSecs: number;
  readonly sentSeq: number;
  readonly ackedSeq: number;
}

/** How many routers have acknowledged a revision, and how many were lost until their lease ran out. */
export interface Settlement {
  readonly acknowledged: number;
  readonly expired: number;
}

interface RouteHubDeps {
  readonly clock: Clock;
  readonly leaseMs: number;
  readonly log: Log;
}

/** A router that counts: it watches, or was lost less than a lease ago. */
interface RouterRecord {
  watch: RouteWatch | undefined;
  lastHeardMs: number;
}

const maxRouters = 1_000;

export class RouteHub {
  readonly #deps: RouteHubDeps;
  readonly #routes = new Map<string, Route>();
  readonly #records = new Map<string, RouterRecord>();
  /** Called when a router has acknowledged something, has come or is gone. */
  readonly #listeners = new Set<() => void>();
  readonly #goneListeners: ((router: string) => void)[] = [];
  readonly #leaseTimers = new Set<() => void>();
  readonly #beganAtMs: number;
  #revision = 0;
  #closed = false;

  constructor(deps: RouteHubDeps) {
    this.#deps = deps;
    this.#beganAtMs = deps.clock.nowMs();
  }

  /** The number of changes so far. */
  get revision(): number {
    return this.#revision;
  }

  /** The routers that count, each process by its own name: those that watch, and those lost whose lease has not run out. */
  get known(): readonly string[] {
    return [...this.#records.keys()];
  }

  /** The routers that watch now. */
  get routers(): RouterStatus[] {
    const nowMs = this.#deps.clock.nowMs();
    return [...this.#records.values()].flatMap(({ watch }) => {
      if (!watch) return [];
      const { connectedAtMs, sentSeq, ackedSeq, options } = watch;
      const { router } = options;
      return [{ router, connectedSecs: (nowMs - connectedAtMs) / 1_000, sentSeq, ackedSeq }];
    });
  }

  /** Pushes the route to every router. @returns the revision to wait for. */
  publish(route: Route): number {
    this.#routes.set(route.app, route);
    return this.#changed(route.app, route);
  }

  /** Removes the route from every router. @returns the revision to wait for. */
  remove(app: string): number {
    this.#routes.delete(app);
    return this.#changed(app, null);
  }

  /**
   * Pushes to one router until the signal aborts; the promise resolves then.
   * @throws AppError too_many_calls; deadline_exceeded when the router has acknowledged nothing for a lease: the link is of no use.
   */
  async watch(options: WatchOptions): Promise<void> {
    const { clock, leaseMs } = this.#deps;
    const watch = new RouteWatch({ clock, leaseMs, options });
    const { member = options.router } = options;
    if (!this.#records.has(member) && this.#records.size >= maxRouters)
      throw new AppError('too_many_calls', `${maxRouters} routers watch already`, { retryAfterMs: 10_000 });
    const record = this.#records.get(member) ?? { watch: undefined, lastHeardMs: clock.nowMs() };
    record.watch = watch;
    this.#records.set(member, record);
    this.#warnOfTwins(options);
    try {
      await watch.run([...this.#routes.values()], this.#revision);
    } finally {
      // A router may come back by a new link before the old one is known to be dead: the new one stays.
      if (record.watch === watch) {
        record.watch = undefined;
        record.lastHeardMs = options.lastHeardMs();
        this.#expire(member, record);
      }
      this.#tellListeners();
    }
  }

  acknowledge(link: object, seq: number): void {
    for (const { watch } of this.#records.values())
      if (watch?.options.link === link && watch.acknowledge(seq)) this.#tellListeners();
  }

  /**
   * Resolves when no router calls by a table older than `revision`: each has acknowledged it, or its lease has run out. That includes
   * routers that an earlier leader knew, so it never resolves before this hub is a lease old. @throws the signal's reason.
   */
  settled(revision: number, signal: AbortSignal): Promise<Settlement> {
    return this.#whenSettled(revision, this.#beganAtMs + this.#deps.leaseMs, signal);
  }

  /** The same for the routers that this hub knows; one that an earlier leader knew may still call by an older table. */
  settledAtKnown(revision: number, signal: AbortSignal): Promise<Settlement> {
    return this.#whenSettled(revision, 0, signal);
  }

  /** Whether every router that counts has acknowledged `revision` now: none has come or was lost since `settled`. */
  isSettled(revision: number): boolean {
    return [...this.#records.values()].every(({ watch }) => (watch?.ackedRevision ?? -1) >= revision);
  }

  /** @param listener called when a router is gone and its lease has run out, so its last report no longer counts. */
  onGone(listener: (router: string) => void): void {
    this.#goneListeners.push(listener);
  }

  close(): void {
    this.#closed = true;
    for (const stopTimer of this.#leaseTimers) stopTimer();
    this.#leaseTimers.clear();
  }

  /** A pod that was restarted does this for a lease; for longer, two routers have one name, or somebody else has a token of routers. */
  #warnOfTwins({ router, member }: WatchOptions): void {
    const twins = [...this.#records.values()].filter(({ watch }) => watch?.options.router === router);
    if (twins.length > 1)
      this.#deps.log.warn({ router, member, links: twins.length }, 'several processes watch as one router');
  }

  #changed(app: string, route: Route | null): number {
    this.#revision += 1;
    for (const { watch } of this.#records.values()) watch?.changed(app, route, this.#revision);
    return this.#revision;
  }

  #whenSettled(revision: number, notBeforeMs: number, signal: AbortSignal): Promise<Settlement> {
    const { clock } = this.#deps;
    const waitedFor = this.known;
    return watchUntil({
      look: () => {
        const leftMs = notBeforeMs - clock.nowMs();
        if (leftMs > 0) return { againMs: leftMs };
        if (!this.isSettled(revision)) return {};
        const expired = waitedFor.filter((router) => !this.#records.has(router)).length;
        return { done: { acknowledged: this.#records.size, expired } };
      },
      subscribe: (listener) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
      clock,
      signal,
    });
  }

  /** Forgets a lost router once its lease has run out. */
  #expire(router: string, record: RouterRecord): void {
    const { clock, leaseMs, log } = this.#deps;
    if (this.#closed || record.watch || this.#records.get(router) !== record) return;
    const leftMs = record.lastHeardMs + leaseMs - clock.nowMs();
    if (leftMs > 0) {
      const stopTimer = clock.after(Math.max(1, leftMs), () => {
        this.#leaseTimers.delete(stopTimer);
        this.#expire(router, record);
      });
      this.#leaseTimers.add(stopTimer);
      return;
    }
    this.#records.delete(router);
    log.warn({ router }, 'the lease of a router has run out');
    for (const listener of this.#goneListeners) listener(router);
    this.#tellListeners();
  }

  #tellListeners(): void {
    for (const listener of this.#listeners) listener();
  }
}
