/** `sources.*` and `apps.sync`: uploads, and looking up git sources at once. */
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

export function sourceHandlers({
  uploads,
  lead,
}: Pick<HandlerDeps, 'uploads' | 'lead'>): Pick<AgentHandlers, 'sources.begin' | 'sources.complete' | 'apps.sync'> {
  return {
    'sources.begin': async ({ archive, bytes }) => uploads.begin(archive, bytes),
    'sources.complete': async ({ archive }, { signal }) => uploads.complete(archive, signal),
    'apps.sync': async ({ app }, { identity }) => lead().sync.now(app, identity.name),
  };
}
