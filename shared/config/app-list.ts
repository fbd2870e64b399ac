/** Rules for a list of `[[app]]` as a whole, shared by the app file and the agent's own configuration. */
import { type DeclaredApp, parseRoute, sourceKind } from '../protocol/app-spec.ts';

/** Calls `refuse` for each app whose name or route is already used by an earlier app. */
export function refuseRepeatedApps(
  apps: readonly Pick<DeclaredApp, 'name' | 'path'>[],
  refuse: (path: (string | number)[], message: string) => void,
): void {
  refuseRepeated(
    apps.map((app) => app.name),
    (index, first) => {
      refuse(['app', index, 'name'], `app[${first}] has this name already`);
    },
  );
  refuseRepeated(
    apps.map((app, index) => (app.path === undefined ? String(index) : routeOf(app.path))),
    (index, first) => {
      refuse(['app', index, 'path'], `app "${apps[first]?.name}" has this route already; two apps cannot share one`);
    },
  );
}

/** Calls `refuse` for each repeated value, with its index and the index of its first occurrence. */
export function refuseRepeated(values: readonly string[], refuse: (index: number, first: number) => void): void {
  const firsts = new Map<string, number>();
  for (const [index, value] of values.entries()) {
    const first = firsts.get(value);
    if (first === undefined) firsts.set(value, index);
    else refuse(index, first);
  }
}

/** Returns the app with its `source` made absolute if that is a folder; git URLs and uploads are left as they are. */
export function withAbsoluteSource<A extends Pick<DeclaredApp, 'source'>>(
  app: A,
  resolvePath: (path: string) => string,
): A {
  const isFolder = app.source !== undefined && sourceKind(app.source) === 'folder';
  return isFolder ? { ...app, source: resolvePath(app.source ?? '') } : app;
}

function routeOf(path: string): string {
  const route = parseRoute(path);
  return route === undefined ? path : `${route.host}${route.path}`;
}
