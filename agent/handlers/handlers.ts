/** The handlers of every method in shared/protocol/methods.ts, one file for each first word of their names. */
import type { AgentMethods, RouterMethods } from '../../shared/protocol/methods.ts';
import type { Handlers } from '../../shared/rpc/types.ts';
import type { Leadership } from '../leadership.ts';
import type { Platform } from '../platform/platform.ts';
import type { AppStore } from '../store/app-store.ts';
import type { EventStore } from '../store/event-store.ts';
import type { Images } from '../images/images.ts';
import type { Uploads } from '../source/uploads.ts';
import { appHandlers } from './apps.ts';
import { buildHandlers } from './builds.ts';
import { historyHandlers } from './history.ts';
import { routeHandlers } from './routes.ts';
import { sourceHandlers } from './sources.ts';
import { systemHandlers } from './system.ts';
import { versionHandlers } from './versions.ts';

export type AgentHandlers = Handlers<AgentMethods, RouterMethods>;

export interface HandlerDeps {
  /** What this agent holds while it leads. @throws AppError not_leader */
  readonly lead: () => Leadership;
  readonly platform: Platform;
  readonly store: AppStore;
  readonly events: EventStore;
  readonly images: Images;
  readonly uploads: Uploads;
  /** Name of this agent. */
  readonly holder: string;
  readonly release: string;
}

export function createHandlers(deps: HandlerDeps): AgentHandlers {
  return {
    ...appHandlers(deps),
    ...versionHandlers(deps),
    ...routeHandlers(deps),
    ...buildHandlers(deps),
    ...sourceHandlers({ uploads: deps.uploads, sync: () => deps.lead().sync }),
    ...historyHandlers(deps),
    ...systemHandlers(deps),
  };
}
