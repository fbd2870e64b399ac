/** What routers speak: `routes.watch`, its acknowledgements, and `activity.report`. */
import { AppError, toAppError } from '../../shared/errors.ts';
import { agentNotifications, type AppActivity, type RouterMethods } from '../../shared/protocol/methods.ts';
import type { NotificationHandlers } from '../../shared/rpc/types.ts';
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

/** Apps in one report, of all its parts. */
const maxReported = 1_000_000;

export function routeHandlers({ lead }: HandlerDeps): Pick<AgentHandlers, 'routes.watch' | 'activity.report'> {
  const parts = new WeakMap<object, readonly AppActivity[]>();
  return {
    'routes.watch': async ({ router }, { peer, emit, signal }) => {
      if (!peer) throw new AppError('invalid_request', 'routes.watch needs a WebSocket: routers acknowledge each item');
      const { hub, links } = lead();
      links.add(router, peer);
      try {
        await hub.watch({ router, link: peer, emit, signal, lastHeardMs: () => peer.lastHeardMs });
      } catch (error) {
        // It dials anew, and begins with a snapshot.
        if (toAppError(error).code === 'deadline_exceeded') void peer.close(1008, 'pushes are not acknowledged');
        throw error;
      }
      return {};
    },
    'activity.report': async ({ router, apps, more }, { peer }) => {
      // Told in parts, it counts as a whole: an app that a report leaves out does nothing there.
      const before = (peer && parts.get(peer)) ?? [];
      const all = before.length === 0 ? apps : [...before, ...apps];
      if (more && peer !== undefined && all.length <= maxReported) parts.set(peer, all);
      else {
        if (peer !== undefined) parts.delete(peer);
        const { hub, activity } = lead();
        // Of one that watches no routes nobody would know when it is gone.
        if (hub.known.includes(router)) activity.report(router, all);
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
