/** An agent that knows one app, always running: the real RPC server, with a route table that never changes. */
import { createRpcServer } from '../../agent/rpc/server.ts';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import { agentMethods, routerMethods } from '../../shared/protocol/methods.ts';
import type { Route } from '../../shared/protocol/routes.ts';

const local = {
  'routes.watch': agentMethods['routes.watch'],
  'activity.report': agentMethods['activity.report'],
  'versions.ensure': agentMethods['versions.ensure'],
};

/** @returns where routers reach it. */
export async function startFakeAgent(options: {
  readonly token: string;
  readonly route: Route;
}): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createRpcServer({
    tokens: [{ name: 'router', scopes: ['router'], value: options.token }],
    local,
    remote: routerMethods,
    handlers: {
      'routes.watch': async (_params, { emit, signal }) => {
        await emit({ kind: 'snapshot', seq: 1, routes: [options.route], more: false });
        await new Promise<void>((resolve) => {
          if (signal.aborted) resolve();
          else signal.addEventListener('abort', () => resolve(), { once: true });
        });
        return {};
      },
      'activity.report': async () => ({}),
      'versions.ensure': async () => {
        throw new AppError('version_failed', 'nothing can be started here');
      },
    },
    notifications: { 'routes.ack': () => undefined },
    isLeader: () => true,
    log: silentLog,
  });
  const port = await server.listen({ host: '127.0.0.1', port: 0 });
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}
