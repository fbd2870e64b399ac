/** The beginning of an app's answer: interim heads passed on, and what its final head says of the two connections. */
import type { Call } from '../call/call.ts';
import type { ExchangeDeps } from './exchange-deps.ts';
import { BodyReader } from '../message/body-reader.ts';
import { keepAliveSeconds } from '../message/response-head.ts';
import type { UpstreamConnection } from './pool.ts';

export interface Answer {
  readonly body: BodyReader;
  /** How long the app keeps its connection; 0 where no other call may have it. */
  readonly keepMs: number;
}

type AnswerDeps = Pick<ExchangeDeps, 'parser' | 'limits' | 'date'>;

/**
 * RFC 9110 §15.2: passed on, but never to HTTP/1.0; and not 100, which the router has answered itself.
 * @param deps whose parser has parsed the head in `block`.
 * @returns whether the client takes it as fast as it comes.
 */
export function passInterim(call: Call, block: Buffer, { parser }: AnswerDeps): boolean {
  if (parser.status === 100 || call.head.minor === 0) return true;
  return call.clientSide.answer.interim(block, parser);
}

/**
 * Leaves the head for the client composed.
 * @param deps whose parser has parsed the final head in `block`.
 */
export function beginAnswer(call: Call, block: Buffer, upstream: UpstreamConnection, deps: AnswerDeps): Answer {
  const { parser, limits, date } = deps;
  const { framing, status, minor } = parser;
  const { head, clientSide } = call;
  const bodiless = head.method === 'HEAD' || status === 204 || status === 304;
  const body = (upstream.body ??= new BodyReader(limits));
  if (bodiless) body.beginNone();
  else if (framing.chunked) body.beginChunked();
  else if (framing.contentLength >= 0) body.beginLength(framing.contentLength);
  else body.beginClose();
  const hasLength = bodiless || framing.contentLength >= 0;
  const reusable = minor > 0 && !framing.close && !body.endsWithConnection;
  clientSide.answer.head(call, block, parser, { hasLength, date: date.now() });
  return { body, keepMs: reusable ? keepAliveSeconds(block, parser.fields) * 1_000 - 1_000 : 0 };
}
