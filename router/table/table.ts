/**
 * Keeps the route table and the apps that were called in step. A snapshot replaces the table at once, however large it is, and every
 * later call is routed by it. Known apps are updated by the first call that finds them, and in slices between which the event loop
 * continues. When the last one is updated, the snapshot has taken full effect.
 */
import type { Clock } from '../../shared/wait/clock.ts';
import type { Route, RoutesItem } from '../../shared/protocol/routes.ts';
import type { App, Apps } from './apps.ts';
import { Routes, type RouteEntry } from './routes.ts';

export interface TableEvents {
  /** @param moved whether calls held for the app may belong to another app now. */
  routeChanged(app: App, moved: boolean): void;
}

export interface TableDeps {
  readonly apps: Apps;
  readonly events: TableEvents;
  /** Adapts each route of the agent to this process. */
  readonly adaptRoute?: ((route: Route) => Route) | undefined;
  readonly clock: Clock;
}

/** Apps updated in one turn of the event loop; each takes microseconds. */
const appsATurn = 500;

export class Table {
  readonly #deps: TableDeps;
  readonly #routes = new Routes();
  /** Apps that are not updated to the last snapshot yet. */
  #stale: IterableIterator<App> | undefined;
  #turn: NodeJS.Immediate | undefined;
  readonly #onSettled: (() => void)[] = [];

  constructor(deps: TableDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#routes.size;
  }

  /** The routes, for a list of them. */
  get routes(): Pick<Routes, 'size' | 'revision' | 'all' | 'of'> {
    return this.#routes;
  }

  lookup(host: string, path: string): App | undefined {
    const entry = this.#routes.lookup(host, path);
    return entry === undefined ? undefined : (entry.app ?? this.#enter(entry));
  }

  restart(): void {
    this.#routes.restart();
    this.#onSettled.length = 0;
  }

  /**
   * @param applied called once, perhaps before this returns, when every later call is routed by the item; for a part of a snapshot,
   *   when it was received; never after `restart`.
   * @returns false if an item is missing, so that a new watch is needed.
   */
  apply(item: RoutesItem, applied: () => void): boolean {
    const done = this.#routes.apply(this.#adapted(item));
    switch (done.kind) {
      case 'gap':
        return false;
      case 'partial':
        break;
      case 'replaced':
        this.#stale = this.#deps.apps.all();
        this.#settle();
        break;
      case 'changed':
        this.#change(done.upserted, done.removed);
    }
    if (this.#stale === undefined) applied();
    else this.#onSettled.push(applied);
    return true;
  }

  #adapted(item: RoutesItem): RoutesItem {
    const { adaptRoute } = this.#deps;
    if (adaptRoute === undefined) return item;
    return item.kind === 'delta'
      ? { ...item, upsert: item.upsert.map(adaptRoute) }
      : { ...item, routes: item.routes.map(adaptRoute) };
  }

  close(): void {
    clearImmediate(this.#turn);
    this.#stale = undefined;
    this.#onSettled.length = 0;
  }

  #change(upserted: readonly Route[], removed: readonly string[]): void {
    const { apps, events, clock } = this.#deps;
    const nowMs = clock.nowMs();
    const changed: { readonly app: App; readonly moved: boolean }[] = [];
    for (const name of removed) {
      const app = apps.remove(name);
      if (app !== undefined) changed.push({ app, moved: true });
    }
    for (const route of upserted) {
      const before = apps.get(route.app)?.route;
      // Apps that nobody has called are not known.
      if (before !== undefined) changed.push({ app: apps.upsert(route, nowMs), moved: isElsewhere(before, route) });
    }
    // Rooms are checked only when the whole push is applied, because a call may move from one app to another.
    for (const { app, moved } of changed) events.routeChanged(app, moved);
  }

  /** Finds the app of a route for the first call since the route came. */
  #enter(entry: RouteEntry): App {
    const { route } = entry;
    const app = this.#deps.apps.get(route.app);
    return (entry.app = app !== undefined && app.route === route ? app : this.#adopt(route));
  }

  #adopt(route: Route): App {
    const { apps, events, clock } = this.#deps;
    const before = apps.get(route.app)?.route;
    const app = apps.upsert(route, clock.nowMs());
    if (before !== undefined) events.routeChanged(app, isElsewhere(before, route));
    return app;
  }

  readonly #settle = (): void => {
    const { apps, events } = this.#deps;
    const stale = this.#stale;
    clearImmediate(this.#turn);
    this.#turn = undefined;
    if (stale === undefined) return;
    for (let count = 0; count < appsATurn; count += 1) {
      const next = stale.next();
      if (next.done === true) {
        this.#stale = undefined;
        for (const applied of this.#onSettled.splice(0)) applied();
        return;
      }
      const app = next.value;
      const route = this.#routes.of(app.name);
      if (route === undefined) {
        apps.remove(app.name);
        events.routeChanged(app, true);
      } else if (route !== app.route) this.#adopt(route);
    }
    this.#turn = setImmediate(this.#settle);
  };
}

/** Whether calls held for the app may belong to another one now. */
function isElsewhere(before: Route, now: Route): boolean {
  return before.host !== now.host || before.path !== now.path || before.stripPath !== now.stripPath;
}
