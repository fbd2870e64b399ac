/** The call that made the router ask for a version, as the agent's events show it. */
import { printable, type WakeCause } from '../../shared/protocol/wake-cause.ts';
import { clientAddress } from '../message/forwarded.ts';
import type { RequestHead } from '../message/request-head.ts';

/** @param router name of this router. */
export function wakeCauseOf(head: RequestHead, router: string): WakeCause {
  const { peer } = head;
  const chain = peer.trusted ? head.field('x-forwarded-for') : undefined;
  return {
    router: printable(router, 253),
    method: printable(head.method, 32),
    host: printable(head.routeHost, 255),
    path: printable(head.path.split('?', 1)[0] ?? '', 256),
    userAgent: printable(head.field('user-agent') ?? '', 256),
    client: printable(clientAddress(peer, chain), 64),
    requestId: printable(head.requestId, 128),
  };
}
