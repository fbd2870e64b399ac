/** The handlers of every method in shared/protocol/methods.ts: one file for each first word of their names. */
import { appHandlers } from './apps.ts';
import { buildHandlers } from './builds.ts';
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';
import { historyHandlers } from './history.ts';
import { routeHandlers } from './routes.ts';
import { sourceHandlers } from './sources.ts';
import { systemHandlers } from './system.ts';
import { versionHandlers } from './versions.ts';

export function createHandlers(deps: HandlerDeps): AgentHandlers {
  return {
    ...appHandlers(deps),
    ...versionHandlers(deps),
    ...routeHandlers(deps),
    ...buildHandlers(deps),
    ...sourceHandlers(deps),
    ...historyHandlers(deps),
    ...systemHandlers(deps),
  };
}
