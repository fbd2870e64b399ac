/** `apps.*`: declaring, reading and deleting apps. */
import { parseRoute, type AppSpec } from '../../shared/protocol/app-spec.ts';
import { toAppError } from '../../shared/errors.ts';
import type { AppView } from '../../shared/protocol/views.ts';
import type { AppMachine } from '../versions/machine/app-machine.ts';
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

export function appHandlers({
  lead,
  addresses,
}: HandlerDeps): Pick<AgentHandlers, 'apps.apply' | 'apps.get' | 'apps.list' | 'apps.delete'> {
  const view = (machine: Pick<AppMachine, 'view' | 'record' | 'config'>): AppView => ({
    ...machine.view(),
    url: addresses.urlOf(machine.record, machine.config),
  });
  const urlOf = (name: string, specs: readonly AppSpec[]): string | null => {
    const spec = specs.find((one) => one.name === name);
    const route = spec && parseRoute(spec.path);
    return route === undefined ? null : addresses.urlOf(route, spec?.config ?? {});
  };
  return {
    'apps.apply': async ({ apps, dryRun }, { identity }) => {
      const { engine } = lead();
      const specs = apps.map((app) => addresses.route(app));
      const { changes, routers } = await engine.apply(specs, dryRun, identity.name);
      return { dryRun, changes: changes.map((change) => ({ ...change, url: urlOf(change.app, specs) })), routers };
    },
    'apps.get': async ({ app }) => {
      const { engine } = lead();
      try {
        return view(engine.machine(app));
      } catch (error) {
        // What whoever is about to declare the app has to know: whether it needs a path.
        throw toAppError(error).with({ data: { defaultDomain: addresses.defaultDomain } });
      }
    },
    'apps.list': async () => ({ apps: lead().engine.machines().map(view) }),
    'apps.delete': async ({ app, volumes }, { identity }) => ({
      app,
      removed: await lead().engine.delete(app, volumes, identity.name),
    }),
  };
}
