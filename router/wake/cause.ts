/** What events say of the call that woke an app. */
import { isIP, isIPv6, type BlockList } from 'node:net';
import { printable, type WakeCause } from '../../shared/protocol/wake-cause.ts';
import type { Call } from '../call.ts';
import { fieldOf } from '../head-fields.ts';
import type { RequestParser } from '../http1/request-parser.ts';
import { requestIdOf } from '../request-head.ts';

export interface CauseDeps {
  /** Name of this router. */
  readonly router: string;
  readonly requestParser: RequestParser;
  readonly trusted: BlockList;
}

export function causeOf({ head, caller, host }: Call, { router, requestParser, trusted }: CauseDeps): WakeCause {
  const { client } = caller;
  const chain = client.trusted ? fieldOf(head, requestParser, 'x-forwarded-for') : undefined;
  return {
    router: printable(router, 253),
    method: printable(head.method, 32),
    host: printable(host, 255),
    path: printable(head.path.split('?', 1)[0] ?? '', 256),
    userAgent: printable(fieldOf(head, requestParser, 'user-agent') ?? '', 256),
    client: printable(chain === undefined ? client.address : nearest(chain, client.address, trusted), 64),
    requestId: printable(requestIdOf(head), 128),
  };
}

/** The first address that is not a trusted proxy's, from our side: what is left of it anybody may have written. */
function nearest(chain: string, address: string, trusted: BlockList): string {
  let found = address;
  for (const hop of chain.split(',').toReversed()) {
    found = hop.trim();
    if (isIP(found) === 0 || !trusted.check(found, isIPv6(found) ? 'ipv6' : 'ipv4')) break;
  }
  return found;
}
