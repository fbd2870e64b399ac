/** The apps of the route table in the order of their names, filtered and in pages, for the front page. */
import type { Clock } from '../../shared/wait/clock.ts';
import type { Route } from '../../shared/protocol/routes.ts';

/** The routes, as far as a directory needs them. */
export interface ListedRoutes {
  readonly size: number;
  /** Changes with every change of the routes. */
  readonly revision: number;
  all(): Iterable<Route>;
  of(app: string): Route | undefined;
}

export interface Listing {
  readonly routes: readonly Route[];
  /** Number of apps, and of those that fit the filter. */
  readonly total: number;
  readonly found: number;
  /** From 1. */
  readonly page: number;
  readonly pages: number;
}

export const pageSize = 100;
/** Names of larger tables are sorted at most once in this time. */
const smallTable = 2_000;
const sortedForMs = 5_000;

export class Directory {
  readonly #routes: ListedRoutes;
  readonly #clock: Clock;
  #names: readonly string[] = [];
  #revision = -1;
  #sortedAtMs = -Infinity;

  constructor(routes: ListedRoutes, clock: Clock) {
    this.#routes = routes;
    this.#clock = clock;
  }

  /** @param filter a part of the name, the host or the path, in any case of letters. @param page from 1. */
  list(filter: string, page: number): Listing {
    this.#sort();
    const wanted = filter.toLowerCase();
    const names = wanted === '' ? this.#names : this.#names.filter((name) => this.#fits(name, wanted));
    const pages = Math.max(1, Math.ceil(names.length / pageSize));
    const current = Math.min(Math.max(1, page), pages);
    const routes = names
      .slice((current - 1) * pageSize, current * pageSize)
      .map((name) => this.#routes.of(name))
      .filter((route) => route !== undefined);
    return { routes, total: this.#routes.size, found: names.length, page: current, pages };
  }

  #fits(name: string, wanted: string): boolean {
    if (name.toLowerCase().includes(wanted)) return true;
    const route = this.#routes.of(name);
    return route !== undefined && `${route.host}${route.path}`.toLowerCase().includes(wanted);
  }

  #sort(): void {
    const { revision, size } = this.#routes;
    if (revision === this.#revision) return;
    const nowMs = this.#clock.nowMs();
    if (size > smallTable && nowMs - this.#sortedAtMs < sortedForMs) return;
    this.#sortedAtMs = nowMs;
    this.#revision = revision;
    this.#names = Array.from(this.#routes.all(), ({ app }) => app).sort();
  }
}
