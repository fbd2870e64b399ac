/** Redirects calls without TLS to https: by 308, so that method and body stay (RFC 9110 §15.4.9). */
import { AppError } from '../../shared/errors.ts';
import type { Call, CallRouting } from './call.ts';
import { ResponseParser } from '../message/response-parser.ts';
import type { RequestHead } from '../message/request-head.ts';

/**
 * @param publicPort the port at which clients reach TLS.
 * @returns `routing` for secure calls, and a redirect for the others.
 */
export function redirectToTls(routing: CallRouting, publicPort: number): CallRouting {
  const parser = new ResponseParser({ maxFields: 8 });
  const port = publicPort === 443 ? '' : `:${publicPort}`;

  return {
    ...routing,
    route(call) {
      const { head } = call;
      if (head.peer.scheme === 'https' || (head.peer.trusted && cameByHttps(head))) routing.route(call);
      else if (head.host === '') {
        call.refuse(new AppError('request_invalid', 'The request is refused: it needs https, and no Host says where.'));
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
}

/** @returns what the trusted proxy says; if several have added their word, the first one. */
function cameByHttps(head: RequestHead): boolean {
  return /^https\s*(,|$)/i.test(head.firstField('x-forwarded-proto') ?? '');
}
