/** The methods for routers: `routes.watch` with its acknowledgements, and `activity.report`. */
import { AppError, toAppError } from '../../shared/errors.ts';
import { agentNotifications, type AppActivity, type RouterMethods } from '../../shared/protocol/methods.ts';
import type { NotificationHandlers } from '../../shared/rpc/types.ts';
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

/** Bounds the apps in all parts of one report. */
const maxReported = 1_000_000;

export function routeHandlers({ lead }: HandlerDeps): Pick<AgentHandlers, 'routes.watch' | 'activity.report'> {
  /** Under which name each link counts. */
  const members = new WeakMap<object, string>();
  const parts = new WeakMap<object, readonly AppActivity[]>();
  return {
    'routes.watch': async ({ router }, { peer, identity, emit, signal }) => {
      if (!peer) throw new AppError('invalid_request', 'routes.watch needs a WebSocket: routers acknowledge each item');
      const { hub, links } = lead();
      // Another process that uses the name of a router takes nobody's place: both are waited for.
      const member = identity.instance === undefined ? router : `${router} ${identity.instance}`;
      members.set(peer, member);
      links.add(member, peer);
      try {
        await hub.watch({ router, member, link: peer, emit, signal, lastHeardMs: () => peer.lastHeardMs });
      } catch (error) {
        // The router dials again, and begins with a snapshot.
        if (toAppError(error).code === 'deadline_exceeded') void peer.close(1008, 'pushes are not acknowledged');
        throw error;
      }
      return {};
    },
    'activity.report': async ({ router, apps, more }, { peer }) => {
      // A report in parts counts only as a whole, because an app that a report leaves out does nothing at that router.
      const before = (peer && parts.get(peer)) ?? [];
      const all = before.length === 0 ? apps : [...before, ...apps];
      if (more && peer !== undefined && all.length <= maxReported) parts.set(peer, all);
      else {
        if (peer !== undefined) parts.delete(peer);
        const { hub, activity } = lead();
        // Nobody would notice the end of a router that does not watch routes, so its reports do not count.
        const member = (peer && members.get(peer)) ?? router;
        if (hub.known.includes(member)) activity.report(member, all);
      }
      return {};
    },
  };
}

export function routeNotifications({ lead }: HandlerDeps): NotificationHandlers<RouterMethods> {
  return {
    'routes.ack': (params, { peer }) => {
      const { seq } = agentNotifications['routes.ack'].params.parse(params);
      if (peer) lead().hub.acknowledge(peer, seq);
    },
  };
}
