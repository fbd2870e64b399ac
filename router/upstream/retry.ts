/**
 * Decides whether a call whose attempt failed is sent again. No target may process a call twice, so that happens only
 * - when nothing of it was sent: the dial failed, or the idle connection turned out closed before the request was written;
 * - when the target says that it did not process the request (HTTP/2: REFUSED_STREAM, or a stream above the last one of its
 *   GOAWAY), and the body can be had again;
 * - once for GET and HEAD without a body, when a reused connection closed before anything of the answer came.
 */
import type { Call } from '../call/call.ts';
import type { RequestSource } from '../call/client-side.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { Failure, Transport } from './transport.ts';

/** Treat a target as one that refuses connections after this many idle ones in a row that closed before they were used. */
const maxStaleConnections = 3;
/** Give up after this many consecutive REFUSED_STREAM answers to one call. */
const maxRefusals = 3;

/** Route the call again · the same, and treat the target as one that refuses connections · answer with the error. */
export type Decision = 'retry' | 'retry_elsewhere' | 'refuse';

/** What decides, and is kept about the earlier attempts of a call. */
type RetriedCall = Pick<Call, 'head' | 'wastedAttempts' | 'needsFresh'> & { readonly clientSide: RequestSource };

/** @param sent whether the request may have reached the target. */
export function decideRetry(
  failure: Failure,
  sent: boolean,
  call: RetriedCall,
  transport: Pick<Transport, 'origin' | 'receivedAny' | 'recallBody'>,
): Decision {
  switch (failure) {
    case 'fatal':
      return 'refuse';
    case 'unprocessed':
      call.wastedAttempts += 1;
      return call.wastedAttempts < maxRefusals && transport.recallBody(call.clientSide) ? 'retry' : 'refuse';
    case 'closed':
      if (!sent) {
        call.wastedAttempts += 1;
        call.needsFresh = call.wastedAttempts < maxStaleConnections;
        return call.needsFresh ? 'retry' : 'retry_elsewhere';
      }
      return retryOnce(call, transport.origin !== 'dialled' && !transport.receivedAny) ? 'retry' : 'refuse';
  }
}

/** @param stale whether the connection may have been about to close before the request came. */
function retryOnce(call: RetriedCall, stale: boolean): boolean {
  if (!stale || call.needsFresh || !isRepeatable(call.head)) return false;
  call.needsFresh = true;
  return true;
}

/** Safe in the sense of RFC 9110 §9.2.1, and without a body to send twice. Nothing is known of methods that are not standard. */
export function isRepeatable(head: RequestHead): boolean {
  return (head.method === 'GET' || head.method === 'HEAD') && !head.hasBody;
}
