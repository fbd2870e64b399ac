/** `apps.*`: declaring, reading and deleting apps. */
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

export function appHandlers({
  lead,
}: HandlerDeps): Pick<AgentHandlers, 'apps.apply' | 'apps.get' | 'apps.list' | 'apps.delete'> {
  return {
    'apps.apply': async ({ apps, dryRun }, { identity }) => {
      const { changes, routers } = await lead().engine.apply(apps, dryRun, identity.name);
      return { dryRun, changes, routers };
    },
    'apps.get': async ({ app }) => lead().engine.machine(app).view(),
    'apps.list': async () => ({
      apps: lead()
        .engine.machines()
        .map((machine) => machine.view()),
    }),
    'apps.delete': async ({ app, volumes }, { identity }) => ({
      app,
      removed: await lead().engine.delete(app, volumes, identity.name),
    }),
  };
}
