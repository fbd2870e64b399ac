/** Paths are forwarded as they came, except for the prefix of the route, and refused if two readers could see different ones. */
import type { Route } from '../../shared/protocol/routes.ts';

/**
 * Matches dot segments, also between backslashes, which the URL parsers of browsers and apps read as `/`
 * (https://url.spec.whatwg.org/#path-state), between encoded ones, which apps decode, and with a parameter behind it, which Servlets drop.
 */
const dotSegment = /(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:;[^/\\]*)?(?=[/\\#]|%2f|%5c|$)/i;

/**
 * What is wrong with a raw path and query, in words. An app that resolves `..` would serve the path of another route than the
 * one that was looked up. Clients resolve dot segments before they send, RFC 3986 §5.2.4.
 */
export function pathFault(path: string): string | undefined {
  if (!path.includes('.') && !path.includes('%')) return undefined;
  const query = path.indexOf('?');
  return dotSegment.test(query < 0 ? path : path.slice(0, query)) ? 'a dot segment in the path' : undefined;
}

type PathRoute = Pick<Route, 'path' | 'stripPath'>;

/** @returns the path for the app, and the prefix that was stripped; `''`: none. */
export function stripPrefix(path: string, route: PathRoute): { readonly path: string; readonly prefix: string } {
  if (!route.stripPath || route.path === '/') return { path, prefix: '' };
  const { length } = route.path;
  if (path.charCodeAt(length) !== slash) return { path: `/${path.slice(length)}`, prefix: route.path };
  // Of two slashes, one is left out: see `withoutEmptySegment`.
  return { path: path.slice(path.charCodeAt(length + 1) === slash ? length + 1 : length), prefix: route.path };
}

/** Whether the path without its prefix is what its app should see: not just a prefix, and without an empty segment behind it. */
export function isPlainlyBelow(path: string, route: PathRoute): boolean {
  if (!route.stripPath || route.path === '/') return true;
  const { length } = route.path;
  if (path.charCodeAt(length) !== slash) return false;
  const next = path.charCodeAt(length + 1);
  return next !== slash && next !== backslash;
}

/** Whether the path is just the prefix, perhaps with a query. */
export function barePrefix(path: string, route: PathRoute): boolean {
  return path.charCodeAt(route.path.length) !== slash;
}

/**
 * The path with one slash instead of two behind its prefix. Undefined where more follow, or a backslash, which URL parsers take
 * for a slash: without its prefix, the path would begin with what they take for a host.
 */
export function withoutEmptySegment(path: string, route: PathRoute): string | undefined {
  const { length } = route.path;
  const rest = path.slice(length + 1);
  return /^\/(?![/\\])/.test(rest) ? route.path + rest : undefined;
}

const slash = 0x2f;
const backslash = 0x5c;
