/** `sources.*` and `apps.sync`: uploads, and looking up git sources at once. */
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

export function sourceHandlers({
  uploads,
  lead,
  addresses,
}: Pick<HandlerDeps, 'uploads' | 'lead' | 'addresses'>): Pick<
  AgentHandlers,
  'sources.begin' | 'sources.complete' | 'apps.sync'
> {
  return {
    'sources.begin': async ({ archive, bytes }) => uploads.begin(archive, bytes),
    'sources.complete': async ({ archive }, { signal }) => uploads.complete(archive, signal),
    'apps.sync': async ({ app }, { identity }) => {
      const { engine, sync } = lead();
      const { change, sourceDigest } = await sync.now(app, identity.name);
      const { record, config } = engine.machine(app);
      return { change: { ...change, url: addresses.urlOf(record, config) }, sourceDigest };
    },
  };
}
