/**
 * The route table: finds the app for a host and a path. It is filled by the items of `routes.watch`. The time of a lookup depends on
 * the length of host and path, not on the number of apps.
 */
import type { Route, RoutesItem } from '../../shared/protocol/routes.ts';
import type { App } from './apps.ts';

/**
 * What applying an item did. `gap`: an item is missing, nothing was changed, and a new watch is needed · `partial`: a part of a
 * snapshot was stored · `replaced`: the whole table was replaced · `changed`: single routes were.
 */
export type Applied =
  | { readonly kind: 'partial' }
  | { readonly kind: 'gap' }
  | { readonly kind: 'replaced' }
  | { readonly kind: 'changed'; readonly upserted: readonly Route[]; readonly removed: readonly string[] };

export class Routes {
  #revision = 0;
  #table = new RouteTable();
  #staged: RouteTable | undefined;
  #expects: { readonly kind: 'snapshot' } | { readonly kind: 'seq'; readonly seq: number } = { kind: 'snapshot' };

  get size(): number {
    return this.#table.size;
  }

  /** Changes with every change of the routes. */
  get revision(): number {
    return this.#revision;
  }

  all(): IterableIterator<Route> {
    return this.#table.all();
  }

  lookup(host: string, path: string): RouteEntry | undefined {
    return this.#table.lookup(host, path);
  }

  of(app: string): Route | undefined {
    return this.#table.of(app);
  }

  /** Begins a new watch, whose first item must be a snapshot. The current table stays until the snapshot is complete. */
  restart(): void {
    this.#staged = undefined;
    this.#expects = { kind: 'snapshot' };
  }

  apply(item: RoutesItem): Applied {
    const first = this.#expects.kind === 'snapshot';
    if (first ? item.kind !== 'snapshot' : item.seq !== (this.#expects as { seq: number }).seq) return { kind: 'gap' };
    this.#expects = { kind: 'seq', seq: item.seq + 1 };
    if (item.kind === 'snapshot') return this.#snapshot(item.routes, item.more);
    // A delta between the parts of a snapshot violates the protocol.
    return this.#staged === undefined ? this.#delta(item.upsert, item.remove) : { kind: 'gap' };
  }

  /** A snapshot takes effect with its last part: a route that is missing from one part must not look removed. */
  #snapshot(routes: readonly Route[], more: boolean): Applied {
    const staged = (this.#staged ??= new RouteTable());
    for (const route of routes) staged.put(route);
    if (more) return { kind: 'partial' };
    // This is all that happens at once, however many routes there are; apps are updated later.
    this.#table = staged;
    this.#revision += 1;
    this.#staged = undefined;
    return { kind: 'replaced' };
  }

  /** Removals go first, because one delta may give the route of a deleted app to another. */
  #delta(upserted: readonly Route[], removed: readonly string[]): Applied {
    this.#revision += 1;
    for (const app of removed) this.#table.delete(app);
    for (const route of upserted) this.#table.delete(route.app);
    for (const route of upserted) this.#table.put(route);
    return { kind: 'changed', upserted, removed: removed.filter((app) => this.#table.of(app) === undefined) };
  }
}

/** An entry of the table. */
export interface RouteEntry {
  readonly route: Route;
  /** The app, once a call has asked for it. It is cached here because each lookup elsewhere in a large table is a cache miss. */
  app: App | undefined;
}

interface PathNode {
  /** Undefined without children, as in most nodes of a large table. */
  children: Map<string, PathNode> | undefined;
  route: Route | undefined;
  app: App | undefined;
}

function emptyNode(): PathNode {
  return { children: undefined, route: undefined, app: undefined };
}

class RouteTable {
  /** Paths by host as declared: `''`, `a.example` or `*.example`. */
  readonly #hosts = new Map<string, PathNode>();
  readonly #byApp = new Map<string, Route>();

  get size(): number {
    return this.#byApp.size;
  }

  of(app: string): Route | undefined {
    return this.#byApp.get(app);
  }

  all(): IterableIterator<Route> {
    return this.#byApp.values();
  }

  put(route: Route): void {
    let root = this.#hosts.get(route.host);
    if (root === undefined) this.#hosts.set(route.host, (root = emptyNode()));
    let node: PathNode = root;
    for (const segment of route.path.split('/')) {
      if (segment === '') continue;
      node.children ??= new Map<string, PathNode>();
      let child: PathNode | undefined = node.children.get(segment);
      if (child === undefined) node.children.set(segment, (child = emptyNode()));
      node = child;
    }
    node.route = route;
    node.app = undefined;
    this.#byApp.set(route.app, route);
  }

  delete(app: string): void {
    const route = this.#byApp.get(app);
    if (route === undefined) return;
    this.#byApp.delete(app);
    const root = this.#hosts.get(route.host);
    if (root === undefined) return;
    const way: { parent: PathNode; segment: string }[] = [];
    let node: PathNode | undefined = root;
    for (const segment of route.path.split('/')) {
      if (segment === '' || node === undefined) continue;
      way.push({ parent: node, segment });
      node = node.children?.get(segment);
    }
    if (node?.route?.app === app) {
      node.route = undefined;
      node.app = undefined;
    }
    // Empty nodes are removed, so that a table that changes for months does not grow.
    for (let step = way.pop(); step !== undefined; step = way.pop()) {
      const { children } = step.parent;
      const child = children?.get(step.segment);
      if (child === undefined || child.route !== undefined || child.children !== undefined) break;
      children?.delete(step.segment);
      if (children?.size === 0) step.parent.children = undefined;
    }
    if (root.route === undefined && root.children === undefined) this.#hosts.delete(route.host);
  }

  /** Tries the exact host, then `*.domain` with the longest domain first, then any host; skips hosts without a matching path. */
  lookup(host: string, path: string): RouteEntry | undefined {
    const exact = host === '' ? undefined : this.#hosts.get(host);
    const found = exact === undefined ? undefined : longestPrefix(exact, path);
    if (found !== undefined) return found;
    // No valid name is longer, and a hostile Host of thousands of dots would cost a hash for each of its suffixes.
    const labels = host.length <= maxHostLength ? host : '';
    for (let dot = labels.indexOf('.'); dot >= 0; dot = labels.indexOf('.', dot + 1)) {
      const wildcard = this.#hosts.get(`*${labels.slice(dot)}`);
      const below = wildcard === undefined ? undefined : longestPrefix(wildcard, path);
      if (below !== undefined) return below;
    }
    const any = this.#hosts.get('');
    return any === undefined ? undefined : longestPrefix(any, path);
  }
}

/** @returns the route with the longest matching path prefix. Stops at the first segment that no route has. */
function longestPrefix(root: PathNode, path: string): RouteEntry | undefined {
  let node = root;
  let found = root.route === undefined ? undefined : root;
  let start = 1;
  while (node.children !== undefined) {
    let end = start;
    for (; end < path.length; end++) {
      const char = path.charCodeAt(end);
      if (char === slash || char === question) break;
    }
    const child = node.children.get(path.slice(start, end));
    if (child === undefined) break;
    node = child;
    if (child.route !== undefined) found = child;
    if (end >= path.length || path.charCodeAt(end) === question) break;
    start = end + 1;
  }
  return found as RouteEntry | undefined;
}

const maxHostLength = 255;
const slash = 47;
const question = 63;
