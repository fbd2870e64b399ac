/** Paths are forwarded as they came, except for the prefix of the route, and refused if two readers could see different ones. */
import type { Route } from '../../shared/protocol/routes.ts';

/** Matches dot segments, also between backslashes, which the URL parsers of browsers and apps read as `/`: https://url.spec.whatwg.org/#path-state */
const dotSegment = /(?:^|[/\\])(?:\.|%2e){1,2}(?=[/\\#]|$)/i;

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
  const rest = path.slice(route.path.length);
  return { path: rest.startsWith('/') ? rest : `/${rest}`, prefix: route.path };
}

/** Whether the path without its prefix would begin with `//`, which URL parsers take for a host. */
export function stripsToHost(path: string, route: PathRoute): boolean {
  if (!route.stripPath || route.path === '/') return false;
  const { length } = route.path;
  return isSlash(path[length]) && isSlash(path[length + 1]);
}

function isSlash(char: string | undefined): boolean {
  return char === '/' || char === '\\';
}
