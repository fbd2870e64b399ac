/** The agent's port: the RPC methods, and the HTTP endpoints for uploads, webhooks and build contexts. */
import type { Log } from '../../shared/log.ts';
import { agentMethods, routerMethods } from '../../shared/protocol/methods.ts';
import { release } from '../../shared/release.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { Audit } from '../audit/audit.ts';
import { createRpcAudit } from '../audit/rpc-audit.ts';
import type { AgentConfig } from '../config/config.ts';
import type { HandlerDeps } from '../handlers/handler-deps.ts';
import { createHandlers } from '../handlers/handlers.ts';
import { routeNotifications } from '../handlers/routes.ts';
import type { HttpEndpoint } from '../rpc/endpoint.ts';
import { createRpcServer, type RpcServer } from '../rpc/server.ts';
import { Tokens } from '../rpc/tokens.ts';
import { sourceLimits } from '../source/create-sources.ts';
import { createUploadEndpoint } from '../handlers/upload-endpoint.ts';
import { createUploads } from '../source/uploads.ts';
import { createWebhookEndpoint } from '../handlers/webhook-endpoint.ts';
import type { Leader } from './leader.ts';
import type { Stores } from './stores.ts';
import { startTokenReload } from './token-reload.ts';

interface CreateRpcDeps extends Pick<HandlerDeps, 'platform' | 'images' | 'addresses'> {
  readonly config: AgentConfig;
  readonly leader: Leader;
  readonly stores: Stores;
  readonly endpoints: readonly HttpEndpoint[];
  readonly audit: Audit;
  readonly clock: Clock;
  readonly log: Log;
}

export function createRpc(deps: CreateRpcDeps): RpcServer {
  const { config, leader, stores, platform, images, addresses, endpoints, clock, log } = deps;
  const audit = createRpcAudit(deps.audit);
  const tokens = new Tokens(config.token);
  const lead: HandlerDeps['lead'] = () => leader.required();
  const handlerDeps: HandlerDeps = {
    lead,
    platform,
    store: stores.apps,
    events: stores.events,
    tokens,
    audit: stores.audit,
    images,
    addresses,
    uploads: createUploads({ store: stores.uploads, limits: sourceLimits(config.source), clock }),
    holder: config.kubernetes.pod_name,
    release,
  };
  const leaseMs = config.system.router_lease_secs * 1_000;
  const server = createRpcServer({
    tokens,
    local: agentMethods,
    remote: routerMethods,
    handlers: createHandlers(handlerDeps),
    notifications: routeNotifications(handlerDeps),
    audit,
    hosts: config.system.reserved_hosts,
    endpoints: [
      ...endpoints,
      createUploadEndpoint({ store: stores.uploads, onDenied: audit.denied }),
      createWebhookEndpoint({
        secret: config.source.webhook_secret,
        apps: () => lead().sync.apps(),
        look: (apps) => lead().sync.look(apps),
        audit: audit.webhook,
        clock,
      }),
    ],
    limits: { leaseMs, heartbeatMs: Math.min(2_000, leaseMs / 4) },
    isLeader: () => leader.current !== undefined,
    whyNotLeader: () => leader.whyNot(),
    log,
    clock,
  });
  const reload = startTokenReload({
    given: config.token,
    tokens,
    endLinks: () => server.endInvalidLinks(),
    clock,
    log,
  });
  return {
    ...server,
    async close() {
      await reload.close();
      await server.close();
    },
  };
}
