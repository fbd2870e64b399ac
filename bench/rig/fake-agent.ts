/** An agent that starts nothing: the real RPC server and the real hub of routes, with the table that a question gives it. */
import { tokensOf } from '../../agent/testing/tokens.ts';
import { RouteHub } from '../../agent/routes/hub.ts';
import { createRpcServer } from '../../agent/rpc/server.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import { agentMethods, agentNotifications, routerMethods } from '../../shared/protocol/methods.ts';
import type { Peer } from '../../shared/rpc/types.ts';
import type { Route } from '../../shared/protocol/routes.ts';

const local = {
  'routes.watch': agentMethods['routes.watch'],
  'activity.report': agentMethods['activity.report'],
  'versions.ensure': agentMethods['versions.ensure'],
};

export interface FakeAgent {
  /** URL for routers. */
  readonly url: string;
  readonly hub: RouteHub;
  /** Closes the links of the routers, which come back. */
  cut(): void;
  close(): Promise<void>;
}

export async function startFakeAgent(options: {
  readonly token: string;
  readonly routes: Iterable<Route>;
  /** Starts a version; by default none can be started. */
  readonly ensure?: (app: string, version: number, signal: AbortSignal) => Promise<void>;
}): Promise<FakeAgent> {
  const hub = new RouteHub({ clock: systemClock, leaseMs: 10_000, log: silentLog });
  for (const route of options.routes) hub.publish(route);
  const peers = new Set<Peer<typeof routerMethods>>();
  const server = createRpcServer({
    tokens: tokensOf([{ name: 'router', scopes: ['router'], value: options.token }]),
    local,
    remote: routerMethods,
    handlers: {
      'routes.watch': async ({ router }, { peer, emit, signal }) => {
        if (peer === undefined) return {};
        peers.add(peer);
        peer.closed.addEventListener('abort', () => peers.delete(peer), { once: true });
        await hub.watch({ router, link: peer, emit, signal, lastHeardMs: () => peer.lastHeardMs });
        return {};
      },
      'activity.report': async () => ({}),
      'versions.ensure': async ({ app, version = 1 }, { signal }) => {
        if (options.ensure === undefined) throw new AppError('version_failed', 'nothing can be started here');
        await options.ensure(app, version, signal);
        return { app, version, targets: 1, timings: { buildMs: null, rolloutMs: null } };
      },
    },
    notifications: {
      'routes.ack': (params, { peer }) => {
        const { seq } = agentNotifications['routes.ack'].params.parse(params);
        if (peer !== undefined) hub.acknowledge(peer, seq);
      },
    },
    isLeader: () => true,
    log: silentLog,
  });
  const port = await server.listen({ host: '127.0.0.1', port: 0 });
  return {
    url: `http://127.0.0.1:${port}`,
    hub,
    cut() {
      for (const peer of peers) void peer.close(1_001, 'cut');
    },
    async close() {
      hub.close();
      await server.close();
    },
  };
}
