/** Admits links and POST calls: checks the token, that this agent leads, and the bound per token. */
import type { IncomingMessage } from 'node:http';
import { AppError } from '../../shared/errors.ts';
import type { Identity } from '../../shared/rpc/types.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import type { TokenCheck } from './tokens.ts';

interface Admission {
  readonly identity: Identity;
  /** Gives the place back; doing so again is harmless. */
  readonly leave: () => void;
}

/** @throws AppError unauthenticated, too_many_calls, or why this agent does not lead */
export type Admit = (request: IncomingMessage) => Admission;

export function createAdmission(deps: {
  readonly checkToken: TokenCheck;
  readonly isLeader: () => boolean;
  readonly whyNotLeader: () => AppError;
  readonly maxPerToken: number;
}): Admit {
  const { checkToken, isLeader, whyNotLeader, maxPerToken } = deps;
  const places = new Semaphore({ places: Infinity, placesPerKey: maxPerToken });
  return (request) => {
    const identity = checkToken(request.headers.authorization);
    if (identity === undefined)
      throw new AppError('unauthenticated', 'a known token is needed: Authorization: Bearer …');
    if (!isLeader()) throw whyNotLeader();
    const place = places.tryAcquire(identity.name);
    if (place === undefined)
      throw new AppError('too_many_calls', `token ${identity.name} has ${maxPerToken} connections`, {
        retryAfterMs: 1_000,
      });
    return { identity, leave: () => place[Symbol.dispose]() };
  };
}

export function notLeader(): AppError {
  return new AppError('not_leader', 'this agent is a standby', { retryAfterMs: 1_000 });
}
