/** Redirects calls without TLS to https: by 308, so that method and body stay (RFC 9110 §15.4.9). */
import { AppError } from '../../shared/errors.ts';
import type { CallRouting } from './call.ts';
import type { LocalAnswers } from './local-answer.ts';
import type { RequestHead } from '../message/request-head.ts';

/**
 * @param publicPort the port at which clients reach TLS.
 * @returns `routing` for secure calls, and a redirect for the others.
 */
export function redirectToTls(routing: CallRouting, local: LocalAnswers, publicPort: number): CallRouting {
  const port = publicPort === 443 ? '' : `:${publicPort}`;
  return {
    ...routing,
    route(call) {
      const { head } = call;
      if (head.peer.scheme === 'https' || (head.peer.trusted && cameByHttps(head))) routing.route(call);
      else if (head.host === '') {
        call.refuse(new AppError('request_invalid', 'The request is refused: it needs https, and no Host says where.'));
      } else {
        const host = head.host.replace(/:\d*$/, '');
        const fields = { Location: `https://${host}${port}${head.path}` };
        local.send(call, { status: 308, fields, body: Buffer.alloc(0) });
      }
    },
  };
}

/** @returns what the trusted proxy says; if several have added their word, the first one. */
function cameByHttps(head: RequestHead): boolean {
  return /^https\s*(,|$)/i.test(head.firstField('x-forwarded-proto') ?? '');
}
