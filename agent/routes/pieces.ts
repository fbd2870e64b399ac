/**
 * Cuts a route table into items that a router takes without a long pause and that fit into a frame. The measure is bytes, since one
 * route may name a thousand targets.
 */
import type { Route } from '../../shared/protocol/routes.ts';

/** Bytes of JSON per item, which a router reads in about a millisecond. A single route may exceed it. */
const maxBytes = 32_768;
/** Estimated bytes of a route without its path, targets and wake rules. */
const routeBytes = 320;
const targetBytes = 128;
/** Removed apps per item. Their names are short enough not to be measured. */
export const maxRemovedPerItem = 400;

/** @returns at least one piece; `more` is false for the last one. */
export function* pieces(routes: Iterable<Route>): Generator<{ readonly routes: Route[]; readonly more: boolean }> {
  let piece: Route[] = [];
  let bytes = 0;
  for (const route of routes) {
    const size = sizeOf(route);
    if (piece.length > 0 && bytes + size > maxBytes) {
      yield { routes: piece, more: true };
      piece = [];
      bytes = 0;
    }
    piece.push(route);
    bytes += size;
  }
  yield { routes: piece, more: false };
}

function sizeOf({ path, serving, wakeRules }: Route): number {
  let bytes = routeBytes + path.length;
  if (serving.state === 'ready') bytes += serving.targets.length * targetBytes;
  for (const rule of wakeRules ?? []) bytes += 512 + (rule.answer?.body.length ?? 0);
  return bytes;
}
