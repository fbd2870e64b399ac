/** What holds for a list of `[[app]]` as a whole, in the app file as in the agent's own configuration. */
import { type AppSpec, parseRoute, sourceKind } from '../protocol/app-spec.ts';

/** Calls `refuse` for each app whose name or route an earlier one has. */
export function refuseRepeatedApps(
  apps: readonly Pick<AppSpec, 'name' | 'path'>[],
  refuse: (path: (string | number)[], message: string) => void,
): void {
  refuseRepeated(
    apps.map((app) => app.name),
    (index, first) => {
      refuse(['app', index, 'name'], `app[${first}] has this name already`);
    },
  );
  refuseRepeated(
    apps.map((app) => routeOf(app.path)),
    (index, first) => {
      refuse(['app', index, 'path'], `app "${apps[first]?.name}" has this route already; two apps cannot share one`);
    },
  );
}

/** Calls `refuse` with the index of each value that stands before, and of the first one of its kind. */
export function refuseRepeated(values: readonly string[], refuse: (index: number, first: number) => void): void {
  const firsts = new Map<string, number>();
  for (const [index, value] of values.entries()) {
    const first = firsts.get(value);
    if (first === undefined) firsts.set(value, index);
    else refuse(index, first);
  }
}

/** The app with the folder it names as `source` made absolute; git URLs and uploads stay. */
export function withAbsoluteSource<A extends Pick<AppSpec, 'source'>>(
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
