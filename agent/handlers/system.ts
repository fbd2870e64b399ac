/** `system.status` and `rpc.discover`. */
import { openRpcDocument } from '../../shared/rpc/openrpc.ts';
import type { AgentHandlers, HandlerDeps } from './handler-deps.ts';

export function systemHandlers(deps: HandlerDeps): Pick<AgentHandlers, 'system.status' | 'rpc.discover'> {
  const { lead, release, platform, store, addresses, holder } = deps;
  let document: ReturnType<typeof openRpcDocument> | undefined; // made once, because it costs some 30 ms of CPU time
  return {
    'system.status': async () => {
      const { engine, hub, epoch } = lead();
      const database = await store.ping().then(
        () => 'up' as const,
        () => 'down' as const,
      );
      return {
        release,
        platform: platform.name,
        leader: holder,
        epoch,
        database,
        apps: engine.machines().length,
        publicUrl: addresses.publicUrl,
        defaultDomain: addresses.defaultDomain,
        routers: [...hub.routers],
      };
    },
    'rpc.discover': async () => (document ??= openRpcDocument(release)),
  };
}
