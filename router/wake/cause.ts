/** What events say of the call that woke an app. */
import { printable, type WakeCause } from '../../shared/protocol/wake-cause.ts';
import type { Call } from '../call/call.ts';
import { callerAddress } from '../message/forwarded.ts';
import { fieldOf } from '../message/head-fields.ts';
import type { RequestParser } from '../message/request-parser.ts';
import { requestIdOf } from '../message/request-head.ts';

export interface CauseDeps {
  /** Name of this router. */
  readonly router: string;
  readonly requestParser: RequestParser;
}

export function causeOf({ head, clientSide, host }: Call, { router, requestParser }: CauseDeps): WakeCause {
  const { client } = clientSide;
  const chain = client.trusted ? fieldOf(head, requestParser, 'x-forwarded-for') : undefined;
  return {
    router: printable(router, 253),
    method: printable(head.method, 32),
    host: printable(host, 255),
    path: printable(head.path.split('?', 1)[0] ?? '', 256),
    userAgent: printable(fieldOf(head, requestParser, 'user-agent') ?? '', 256),
    client: printable(callerAddress(client, chain), 64),
    requestId: printable(requestIdOf(head), 128),
  };
}
