/** `versions.*`: making versions run, looking at them and going back to one. */
import type { Identity } from '../../shared/rpc/types.ts';
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

/** Routers may not, and ask for calls only. */
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
          // Progress is a courtesy: when the link cannot take it, the call itself will say so.
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
