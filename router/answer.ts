/** The beginning of an app's answer: interim heads passed on, and what its final head says of the two connections. */
import type { Call } from './call.ts';
import type { ExchangeDeps } from './exchange-deps.ts';
import { BodyReader } from './http1/body-reader.ts';
import { keepAliveSeconds, writeResponseHead } from './response-head.ts';
import type { UpstreamConnection } from './upstream.ts';

export const interimFraming = { chunked: false, connection: '', timing: '', date: '', switching: false };

export interface Answer {
  readonly body: BodyReader;
  /** It goes to the client in chunks. */
  readonly chunked: boolean;
  /** How long the app keeps its connection; 0 where no other call may have it. */
  readonly keepMs: number;
}

type AnswerDeps = Pick<ExchangeDeps, 'parser' | 'writer' | 'limits' | 'date'>;

/**
 * RFC 9110 §15.2: passed on, but never to HTTP/1.0; and not 100, which the router has answered itself.
 * @param deps whose parser has parsed the head in `block`.
 * @returns whether the client takes it as fast as it comes.
 */
export function passInterim(call: Call, block: Buffer, { parser, writer }: AnswerDeps): boolean {
  if (parser.status === 100 || call.head.minor === 0) return true;
  writeResponseHead(writer, block, parser, interimFraming);
  return call.connection.flush();
}

/**
 * Leaves the head for the client in the writer.
 * @param deps whose parser has parsed the final head in `block`.
 */
export function beginAnswer(call: Call, block: Buffer, upstream: UpstreamConnection, deps: AnswerDeps): Answer {
  const { parser, writer, limits, date } = deps;
  const { framing, status, minor } = parser;
  const { head, connection } = call;
  const bodiless = head.method === 'HEAD' || status === 204 || status === 304;
  const body = (upstream.body ??= new BodyReader(limits));
  if (bodiless) body.beginNone();
  else if (framing.chunked) body.beginChunked();
  else if (framing.contentLength >= 0) body.beginLength(framing.contentLength);
  else body.beginClose();
  const ofLength = bodiless || framing.contentLength >= 0;
  const chunked = !ofLength && head.minor > 0;
  const reusable = minor > 0 && !framing.close && !body.endsWithConnection;
  writeResponseHead(writer, block, parser, {
    chunked,
    connection: connection.connectionFields(call, !ofLength && !chunked),
    timing: call.serverTiming(),
    date: date.now(),
    switching: false,
  });
  return { body, chunked, keepMs: reusable ? keepAliveSeconds(block, parser.fields) * 1_000 - 1_000 : 0 };
}
