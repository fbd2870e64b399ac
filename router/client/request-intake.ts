/** What a request passes between its parsed head and its call, whatever its client speaks. */
import { toAppError } from '../../shared/errors.ts';
import { overloaded, refusedMethod, Refusal } from '../call/refusal.ts';
import type { Client } from '../message/peer-identity.ts';
import { readRequestHead, type RequestHead } from '../message/request-head.ts';
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
  client: Client,
  deps: Pick<ConnectionDeps, 'ids' | 'parser' | 'readAhead'>,
): RequestHead | Refusal {
  if (deps.readAhead.full && countedHeadBytes(parser.end) > 0) return new Refusal(overloaded());
  const refused = refusedMethod(parser.method);
  if (refused !== undefined) return refused;
  try {
    const head = readRequestHead(parser, block, 0, client, deps.ids);
    if (parser === deps.parser) parser.parsed = head;
    return head;
  } catch (error) {
    return new Refusal(toAppError(error));
  }
}
