/** `versions.*`: making a version run, listing versions, and rolling back. */
import type { Identity } from '../../shared/rpc/types.ts';
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

/** False for routers, which ask only for calls. */
function mayDeploy({ scopes }: Identity): boolean {
  return scopes.includes('deploy') || scopes.includes('admin');
}

export function versionHandlers({
  lead,
  store,
}: HandlerDeps): Pick<AgentHandlers, 'versions.ensure' | 'versions.list' | 'versions.rollback'> {
  return {
    'versions.ensure': async ({ app, version, suspects, cause }, { signal, emit, identity }) => {
      const result = await lead()
        .engine.machine(app)
        .ensure({
          version,
          suspects,
          signal,
          by: { actor: identity.name, forCall: cause !== undefined || !mayDeploy(identity), cause },
          // Progress may be lost: if the link is broken, the call itself fails.
          onProgress: (progress) => void emit(progress).catch(() => undefined),
        });
      return { app, ...result };
    },
    'versions.list': async ({ app, limit }) => {
      const machine = lead().engine.machine(app);
      return { versions: machine.versionViews(await store.versions(app, limit)) };
    },
    'versions.rollback': async ({ app, version }, { identity }) => ({
      app,
      ...(await lead().engine.rollback(app, version, identity.name)),
    }),
  };
}
