/** The handlers of every method in shared/protocol/methods.ts. Those with more to them have a file of their own. */
import { AppError } from '../../shared/errors.ts';
import { openRpcDocument } from '../../shared/rpc/openrpc.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import { appHandlers } from './apps.ts';
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';
import { routeHandlers } from './routes.ts';
import { versionHandlers } from './versions.ts';

/** Logs that one token reads at a time, so that it does not take the places of all. */
const maxLogStreams = 16;

export function createHandlers(deps: HandlerDeps): AgentHandlers {
  const { lead, events, audit, tokens, images, uploads, platform, store, addresses, holder, release } = deps;
  let document: ReturnType<typeof openRpcDocument> | undefined; // made once, because it costs some 30 ms of CPU time
  const logStreams = new Semaphore({ places: Infinity, placesPerKey: maxLogStreams });
  return {
    ...appHandlers(deps),
    ...versionHandlers(deps),
    ...routeHandlers(deps),

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

    'sources.begin': async ({ archive, bytes }, { identity }) => uploads.begin(archive, bytes, identity.name),
    'sources.complete': async ({ archive }, { signal }) => uploads.complete(archive, signal),
    'apps.sync': async ({ app }, { identity }) => {
      const { engine, sync } = lead();
      const { change, sourceDigest } = await sync.now(app, identity.name);
      const { record, config } = engine.machine(app);
      return { change: { ...change, url: addresses.urlOf(record, config) }, sourceDigest };
    },

    'events.list': async (query) => ({ events: await events.list(query) }),
    'tokens.whoami': async (_params, { identity: { name, scopes, expires = null } }) => ({
      name,
      scopes: [...scopes],
      expires,
    }),
    'tokens.list': async () => ({ tokens: tokens.views }),
    'audit.list': async (query) => ({ entries: await audit.list(query) }),
    'logs.follow': async ({ app, version, tail, follow }, { emit, signal, identity }) => {
      lead().engine.machine(app);
      using place = logStreams.tryAcquire(identity.name);
      if (place === undefined)
        throw new AppError('too_many_calls', `token ${identity.name} reads ${maxLogStreams} logs already`, {
          retryAfterMs: 1_000,
        });
      for await (const line of platform.logs({ app, version, tail, follow }, signal)) await emit(line);
      return {};
    },

    'system.status': async () => {
      const { engine, hub, epoch } = lead();
      const database = await store.ping().then(
        () => 'up' as const,
        () => 'down' as const,
      );
      return {
        release,
        platform: platform.name,
        leader: holder,
        epoch,
        database,
        apps: engine.machines().length,
        publicUrl: addresses.publicUrl,
        defaultDomain: addresses.defaultDomain,
        routers: [...hub.routers],
      };
    },
    'rpc.discover': async () => (document ??= openRpcDocument(release)),
  };
}
