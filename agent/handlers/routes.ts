/** What routers speak: `routes.watch`, its acknowledgements, and `activity.report`. */
import { AppError, toAppError } from '../../shared/errors.ts';
import { agentNotifications, type RouterMethods } from '../../shared/protocol/methods.ts';
import type { NotificationHandlers } from '../../shared/rpc/types.ts';
import type { AgentHandlers, HandlerDeps } from './handlers.ts';

export function routeHandlers({ lead }: HandlerDeps): Pick<AgentHandlers, 'routes.watch' | 'activity.report'> {
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
    'activity.report': async ({ router, apps }) => {
      lead().activity.report(router, apps);
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
