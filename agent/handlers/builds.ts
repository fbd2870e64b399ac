/** `builds.*` and `images.*`: builds, and the images that they made. */
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

export function buildHandlers({
  lead,
  images,
}: HandlerDeps): Pick<AgentHandlers, 'builds.list' | 'builds.logs' | 'images.list' | 'images.prune'> {
  return {
    'builds.list': async (query) => ({ builds: await images.builds(query) }),
    'builds.logs': async (query, { emit, signal }) => {
      lead().engine.machine(query.app);
      return { build: await images.logs(query, emit, signal) };
    },
    'images.list': async (query, { signal }) => ({ images: await images.list(query, signal) }),
    'images.prune': async ({ keep, dryRun }, { signal, identity }) => ({
      dryRun,
      pruned: await images.prune({ keep, dryRun, actor: identity.name }, signal),
    }),
  };
}
