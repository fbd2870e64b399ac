/** Paths: forwarded as they came, but for the prefix of the route; refused where two readers could see different ones. */

/** Delimited by `\\` too, which URL parsers of browsers and apps read as `/`: https://url.spec.whatwg.org/#path-state */
const dotSegment = /(?:^|[/\\])(?:\.|%2e){1,2}(?=[/\\#]|$)/i;

/**
 * What is wrong with a raw path and query, in words. An app that resolves `..` would serve another route's path than the
 * one that was looked up; clients resolve it before they send, RFC 3986 §5.2.4.
 */
export function pathFault(path: string): string | undefined {
  if (!path.includes('.') && !path.includes('%')) return undefined;
  const query = path.indexOf('?');
  return dotSegment.test(query < 0 ? path : path.slice(0, query)) ? 'a dot segment in the path' : undefined;
}

interface PathRoute {
  readonly path: string;
  readonly stripPath: boolean;
}

/** Path for the app, and the prefix that was taken off (`''`: none). */
export function stripPrefix(
  path: string,
  route: PathRoute,
): {
  readonly path: string;
  readonly prefix: string;
} {
  if (!route.stripPath || route.path === '/') return { path, prefix: '' };
  const rest = path.slice(route.path.length);
  return { path: rest.startsWith('/') ? rest : `/${rest}`, prefix: route.path };
}

/** Whether the path without its prefix would be `//…`, which URL parsers take for a host. */
export function stripsToHost(path: string, route: PathRoute): boolean {
  if (!route.stripPath || route.path === '/') return false;
  const { length } = route.path;
  return isSlash(path[length]) && isSlash(path[length + 1]);
}

function isSlash(char: string | undefined): boolean {
  return char === '/' || char === '\\';
}
