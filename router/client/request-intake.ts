/** The checks between a parsed request head and the call made from it, the same for HTTP/1.1 and HTTP/2. */
import { toAppError } from '../../shared/errors.ts';
import { overloaded, refusedMethod, Refusal } from '../call/refusal.ts';
import type { PeerIdentity } from '../message/peer-identity.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { RequestParser } from '../message/request-parser.ts';
import type { ConnectionDeps } from './connection-deps.ts';

/** Every call may keep a head of this size; what is larger counts as read ahead. */
const freeHeadBytes = 1_024;

export function countedHeadBytes(keptBytes: number): number {
  return Math.max(0, keptBytes - freeHeadBytes);
}

/** @param parser has parsed the head, which begins `block`. */
export function takeHead(
  parser: RequestParser,
  block: Buffer,
  client: PeerIdentity,
  deps: Pick<ConnectionDeps, 'heads' | 'readAhead'>,
): RequestHead | Refusal {
  if (deps.readAhead.full && countedHeadBytes(parser.end) > 0) return new Refusal(overloaded());
  const refused = refusedMethod(parser.method);
  if (refused !== undefined) return refused;
  try {
    return deps.heads.read(parser, block, client);
  } catch (error) {
    return new Refusal(toAppError(error));
  }
}
