/** Admits links and POST calls: checks the token, that this agent leads, and the bound per token. */
import type { IncomingMessage } from 'node:http';
import { AppError } from '../../shared/errors.ts';
import { instanceHeader } from '../../shared/protocol/methods.ts';
import type { Identity } from '../../shared/rpc/types.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import type { Tokens } from './tokens.ts';

interface Admission {
  readonly identity: Identity;
  /** Whether the token still counts. */
  readonly isValid: () => boolean;
  /** Gives the place back; doing so again is harmless. */
  readonly leave: () => void;
}

/** @throws AppError unauthenticated, too_many_calls, or why this agent does not lead */
export type Admit = (request: IncomingMessage) => Admission;

export function createAdmission(deps: {
  readonly tokens: Pick<Tokens, 'check'>;
  readonly isLeader: () => boolean;
  readonly whyNotLeader: () => AppError;
  readonly maxPerToken: number;
  /** For tokens with the scope `router`. */
  readonly maxPerRouterToken: number;
  /** Called for a request with a known token. */
  readonly onKnown?: (request: IncomingMessage) => void;
  /** Called for a caller without a known token, or over its bound. */
  readonly onDenied?: ((request: IncomingMessage, error: AppError, name: string | undefined) => void) | undefined;
}): Admit {
  const { tokens, isLeader, whyNotLeader, maxPerToken, maxPerRouterToken, onKnown, onDenied } = deps;
  const routers = new Semaphore({ places: Infinity, placesPerKey: maxPerRouterToken });
  const others = new Semaphore({ places: Infinity, placesPerKey: maxPerToken });
  return (request) => {
    const holder = tokens.check(request.headers.authorization);
    const identity = holder?.identity;
    const denied = (error: AppError): AppError => {
      onDenied?.(request, error, identity?.name);
      return error;
    };
    if (holder === undefined || identity === undefined)
      throw denied(new AppError('unauthenticated', 'a known token is needed: Authorization: Bearer …'));
    if (!isLeader()) throw whyNotLeader();
    onKnown?.(request);
    const isRouter = identity.scopes.includes('router');
    const place = (isRouter ? routers : others).tryAcquire(identity.name);
    if (place === undefined)
      throw denied(
        new AppError(
          'too_many_calls',
          `token ${identity.name} has ${isRouter ? maxPerRouterToken : maxPerToken} connections`,
          {
            retryAfterMs: 1_000,
          },
        ),
      );
    const { remoteAddress: address } = request.socket;
    return {
      identity: { ...identity, address, instance: instanceOf(request) },
      isValid: holder.isValid,
      leave: () => place[Symbol.dispose](),
    };
  };
}

function instanceOf({ headers }: IncomingMessage): string | undefined {
  const given = headers[instanceHeader];
  return typeof given === 'string' && /^[A-Za-z0-9-]{8,64}$/.test(given) ? given : undefined;
}

export function notLeader(): AppError {
  return new AppError('not_leader', 'this agent is a standby', { retryAfterMs: 1_000 });
}
