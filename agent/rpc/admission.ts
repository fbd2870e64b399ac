/** Who may come in: token, leadership and the bound per token, for links and POST calls alike. */
import type { IncomingMessage } from 'node:http';
import { AppError } from '../../shared/errors.ts';
import type { Identity } from '../../shared/rpc/types.ts';
import type { TokenCheck } from './tokens.ts';

interface Admission {
  readonly identity: Identity;
  /** Gives the place back; more than once does no harm. */
  readonly leave: () => void;
}

/** @throws AppError unauthenticated, not_leader or too_many_calls. */
export type Admit = (request: IncomingMessage) => Admission;

export function createAdmission(deps: {
  readonly checkToken: TokenCheck;
  readonly isLeader: () => boolean;
  readonly maxPerToken: number;
}): Admit {
  const inside = new Map<string, number>();
  return (request) => {
    const identity = deps.checkToken(request.headers.authorization);
    if (identity === undefined) {
      throw new AppError('unauthenticated', 'a known token is needed: Authorization: Bearer …');
    }
    if (!deps.isLeader()) throw new AppError('not_leader', 'this agent is a standby', { retryAfterMs: 1_000 });
    const count = inside.get(identity.name) ?? 0;
    if (count >= deps.maxPerToken) {
      throw new AppError('too_many_calls', `token ${identity.name} has ${count} connections`, { retryAfterMs: 1_000 });
    }
    inside.set(identity.name, count + 1);
    let left = false;
    return {
      identity,
      leave() {
        if (left) return;
        left = true;
        inside.set(identity.name, (inside.get(identity.name) ?? 1) - 1);
      },
    };
  };
}
