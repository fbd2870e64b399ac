/** The parts of the agent that the handlers need. */
import type { AgentMethods, RouterMethods } from '../../shared/protocol/methods.ts';
import type { Handlers } from '../../shared/rpc/types.ts';
import type { Images } from '../images/images.ts';
import type { Platform } from '../platform/platform.ts';
import type { Addresses } from '../routes/addresses.ts';
import type { RouteHub } from '../routes/hub.ts';
import type { Tokens } from '../rpc/tokens.ts';
import type { RouterLinks } from '../routes/router-links.ts';
import type { Sync } from '../source/sync.ts';
import type { Uploads } from '../source/uploads.ts';
import type { AuditStore } from '../store/audit-store.ts';
import type { AppStore } from '../store/app-store.ts';
import type { EventStore } from '../store/event-store.ts';
import type { ActivityLog } from '../versions/activity.ts';
import type { Engine } from '../versions/engine.ts';

export type AgentHandlers = Handlers<AgentMethods, RouterMethods>;

/** The parts of the leading agent that methods act on. */
export interface Lead {
  readonly epoch: number;
  readonly engine: Pick<Engine, 'machine' | 'machines' | 'apply' | 'rollback' | 'delete'>;
  readonly hub: Pick<RouteHub, 'watch' | 'acknowledge' | 'known' | 'routers'>;
  readonly links: RouterLinks;
  readonly activity: Pick<ActivityLog, 'report'>;
  readonly sync: Pick<Sync, 'apps' | 'look' | 'now'>;
}

export interface HandlerDeps {
  /** @throws AppError not_leader while this agent is a standby. */
  readonly lead: () => Lead;
  readonly platform: Platform;
  readonly store: AppStore;
  readonly events: EventStore;
  readonly audit: Pick<AuditStore, 'list'>;
  readonly images: Images;
  readonly tokens: Pick<Tokens, 'views'>;
  readonly uploads: Uploads;
  readonly addresses: Addresses;
  /** The name of this agent. */
  readonly holder: string;
  readonly release: string;
}
