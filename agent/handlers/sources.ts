/** `sources.*` and `apps.sync`: uploads, and git sources looked at now. */
import { AppError } from '../../shared/errors.ts';
import type { Sync } from '../source/sync.ts';
import type { Uploads } from '../source/uploads.ts';
import type { AgentHandlers } from './handlers.ts';

export interface SourceHandlerDeps {
  readonly uploads: Uploads;
  /** Of this leader. @throws AppError not_leader */
  readonly sync: () => Sync;
}

/** @param deps none until the agent is given sources. */
export function sourceHandlers(
  deps?: SourceHandlerDeps,
): Pick<AgentHandlers, 'sources.begin' | 'sources.complete' | 'apps.sync'> {
  const given = (): SourceHandlerDeps => {
    if (!deps) throw new AppError('source_unsupported', 'this agent takes no sources');
    return deps;
  };
  return {
    'sources.begin': async ({ archive, bytes }) => given().uploads.begin(archive, bytes),
    'sources.complete': async ({ archive }, { signal }) => given().uploads.complete(archive, signal),
    'apps.sync': async ({ app }, { identity }) => given().sync().now(app, identity.name),
  };
}
