/** What events say of the call that woke an app. */
import { printable, type WakeCause } from '../../shared/protocol/wake-cause.ts';
import type { Call } from '../call/call.ts';
import { callerAddress } from '../message/forwarded.ts';

/** @param router name of this router. */
export function causeOf({ head, host }: Call, router: string): WakeCause {
  const { peer } = head;
  const chain = peer.trusted ? head.field('x-forwarded-for') : undefined;
  return {
    router: printable(router, 253),
    method: printable(head.method, 32),
    host: printable(host, 255),
    path: printable(head.path.split('?', 1)[0] ?? '', 256),
    userAgent: printable(head.field('user-agent') ?? '', 256),
    client: printable(callerAddress(peer, chain), 64),
    requestId: printable(head.requestId, 128),
  };
}
