/** The links of the routers that watch routes, to ask them something back. */
import type { Log } from '../../shared/log.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { RouterMethods } from '../../shared/protocol/methods.ts';
import type { Peer } from '../../shared/rpc/types.ts';

/** What routers answered, all together. */
export interface Released {
  /** Calls and upgraded connections that are left on the targets. */
  readonly left: number;
  /** Routers that could not be asked: nobody knows what they have. */
  readonly unasked: number;
  /** Whether any has a call of the app on whatever target. */
  readonly busy: boolean;
  /** What they did for the app and have not reported yet; `idleMs` is Infinity where that is nothing. */
  readonly bytes: number;
  readonly idleMs: number;
}

export interface ReleaseRequest {
  readonly app: string;
  /** That the route table no longer names. */
  readonly targets: readonly string[];
  /** Names of those to ask, each of which has to answer. */
  readonly routers: readonly string[];
  /** How long they may wait for calls to end. */
  readonly waitMs: number;
}

export interface RouterLinks {
  add(router: string, peer: Peer<RouterMethods>): void;
  /** Asks routers to let go of targets. @throws the reason of the signal. */
  release(request: ReleaseRequest, signal: AbortSignal): Promise<Released>;
}

/** On top of `waitMs`, for the way there and back. */
const answerMs = 2_000;

export function createRouterLinks({ log }: { readonly log: Log }): RouterLinks {
  const links = new Map<string, Peer<RouterMethods>>();
  return {
    add(router, peer) {
      links.set(router, peer);
      const gone = (): void => {
        if (links.get(router) === peer) links.delete(router);
      };
      peer.closed.addEventListener('abort', gone, { once: true });
      if (peer.closed.aborted) gone();
    },
    async release({ app, targets, routers, waitMs }, signal) {
      const answers = await Promise.all(
        routers.map(async (router): Promise<Released> => {
          try {
            const peer = links.get(router);
            if (peer === undefined) throw new AppError('link_lost', `router ${router} has no link`);
            const { inFlight, upgraded, busy, bytes, idleMs } = await peer.call(
              'targets.release',
              { app, targets: [...targets], waitMs },
              { signal, deadlineMs: waitMs + answerMs },
            );
            const left = inFlight + upgraded;
            return { left, unasked: 0, busy: busy ?? left > 0, bytes: bytes ?? 0, idleMs: idleMs ?? Infinity };
          } catch (error) {
            signal.throwIfAborted();
            log.warn({ err: toAppError(error), app, router }, 'a router could not be asked to let go of targets');
            return { left: 0, unasked: 1, busy: false, bytes: 0, idleMs: Infinity };
          }
        }),
      );
      return answers.reduce(
        (sum, answer) => ({
          left: sum.left + answer.left,
          unasked: sum.unasked + answer.unasked,
          busy: sum.busy || answer.busy,
          bytes: sum.bytes + answer.bytes,
          idleMs: Math.min(sum.idleMs, answer.idleMs),
        }),
        { left: 0, unasked: 0, busy: false, bytes: 0, idleMs: Infinity },
      );
    },
  };
}
