/**
 * Cuts what is pushed into items that a router takes without standing still, and that fit into a frame: by how much there is
 * to read, since a route may name a thousand targets.
 */
import type { Route } from '../../shared/protocol/routes.ts';

/** Of one item, as JSON. A router reads this in about a millisecond; one route alone may be more. */
const maxBytes = 32_768;
/** Of a route without what is counted, and of a target. */
const routeBytes = 320;
const targetBytes = 128;

/** @returns at least one piece. */
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

/** Names that are removed have no weight worth counting one by one. */
export const removedAtOnce = 400;

function sizeOf({ path, serving, wakeRules }: Route): number {
  let bytes = routeBytes + path.length;
  if (serving.state === 'ready') bytes += serving.targets.length * targetBytes;
  for (const rule of wakeRules ?? []) bytes += 512 + (rule.answer?.body.length ?? 0);
  return bytes;
}
