/** Calls that came without TLS are told to come by it: 308, so that method and body stay (RFC 9110 §15.4.9). */
import { AppError } from '../../shared/errors.ts';
import type { Call, CallRouting } from './call.ts';
import { ResponseParser } from '../message/response-parser.ts';
import type { RequestHead } from '../message/request-head.ts';

export interface RedirectOptions {
  /** That clients reach TLS by. */
  readonly publicPort: number;
}

/** `routing` for what is secure. */
export function redirectToTls(routing: CallRouting, { publicPort }: RedirectOptions): CallRouting {
  const parser = new ResponseParser({ maxFields: 8 });
  const port = publicPort === 443 ? '' : `:${publicPort}`;

  return {
    ...routing,
    route(call) {
      const { head } = call;
      if (head.peer.scheme === 'https' || (head.peer.trusted && cameByHttps(head))) routing.route(call);
      else if (head.host === '') {
        call.refuse(
          new AppError('request_invalid', 'The request is refused: https is wanted, and no Host says where.'),
        );
      } else redirect(call);
    },
  };

  function redirect(call: Call): void {
    const { head, clientSide } = call;
    const host = head.host.replace(/:\d*$/, '');
    const block = Buffer.from(
      `HTTP/1.1 308 Permanent Redirect\r\nLocation: https://${host}${port}${head.path}\r\nContent-Length: 0\r\n\r\n`,
      'latin1',
    );
    parser.begin(0);
    parser.parse(block, block.length);
    call.status = 308;
    clientSide.answer.head(call, block, parser, { hasLength: true, date: new Date().toUTCString() });
    clientSide.answer.end(undefined);
    clientSide.answer.flush();
    clientSide.answered();
  }

  /** By the word of the proxy: of the first one, where several have added theirs. */
  function cameByHttps(head: RequestHead): boolean {
    return /^https\s*(,|$)/i.test(head.firstField('x-forwarded-proto') ?? '');
  }
}
