/** Waits until a link is up: tests want its peer, where programs use `onUp` or look at `peer`. */
import { AppError } from '../../errors.ts';
import type { MethodTable } from '../../protocol/methods.ts';
import { until } from '../../wait/testing/until.ts';
import type { Link } from '../link.ts';
import type { Peer } from '../types.ts';

/** @throws AppError `cancelled` when the signal aborts first. */
export async function whenUp<Remote extends MethodTable>(
  link: Link<Remote>,
  signal: AbortSignal,
): Promise<Peer<Remote>> {
  await until(() => link.peer !== undefined || signal.aborted, 'the link is up');
  if (link.peer === undefined) throw new AppError('cancelled', 'waiting for the link was cancelled');
  return link.peer;
}
