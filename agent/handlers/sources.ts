/** `sources.*` and `apps.sync`: uploads, and git sources looked at now. */
import type { Sync } from '../source/sync.ts';
import type { Uploads } from '../source/uploads.ts';
import type { AgentHandlers } from './handlers.ts';

interface SourceHandlerDeps {
  readonly uploads: Uploads;
  /** Of this leader. @throws AppError not_leader */
  readonly sync: () => Sync;
}

export function sourceHandlers({
  uploads,
  sync,
}: SourceHandlerDeps): Pick<AgentHandlers, 'sources.begin' | 'sources.complete' | 'apps.sync'> {
  return {
    'sources.begin': async ({ archive, bytes }) => uploads.begin(archive, bytes),
    'sources.complete': async ({ archive }, { signal }) => uploads.complete(archive, signal),
    'apps.sync': async ({ app }, { identity }) => sync().now(app, identity.name),
  };
}
