/** Calls that came without TLS are told to come by it: 308, so that method and body stay (RFC 9110 §15.4.9). */
import { AppError } from '../../shared/errors.ts';
import type { Call, CallRouting } from './call.ts';
import { fieldStride } from '../message/field-parser.ts';
import { RequestParser } from '../message/request-parser.ts';
import { ResponseParser } from '../message/response-parser.ts';
import type { RequestHead } from '../message/request-head.ts';

export interface RedirectOptions {
  /** That clients reach TLS by. */
  readonly publicPort: number;
  readonly maxFields: number;
}

/** `routing` for what is secure. */
export function redirectToTls(routing: CallRouting, { publicPort, maxFields }: RedirectOptions): CallRouting {
  const requestParser = new RequestParser({ maxFields });
  const parser = new ResponseParser({ maxFields: 8 });
  const port = publicPort === 443 ? '' : `:${publicPort}`;

  return {
    ...routing,
    route(call) {
      const { client } = call.clientSide;
      if (client.scheme === 'https' || (client.trusted && cameByHttps(call.head))) routing.route(call);
      else if (call.head.host === '') {
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
  function cameByHttps({ bytes, start }: RequestHead): boolean {
    requestParser.begin(start);
    if (requestParser.parse(bytes, bytes.length) !== 'done') return false;
    const { at, count } = requestParser.fields;
    for (let base = 0; base < count * fieldStride; base += fieldStride) {
      const name = bytes.toString('latin1', at[base], at[base + 1]).toLowerCase();
      if (name === 'x-forwarded-proto')
        return /^https\s*(,|$)/i.test(bytes.toString('latin1', at[base + 2], at[base + 3]));
    }
    return false;
  }
}
