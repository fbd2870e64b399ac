/** The links of the routers that watch routes, for calls from the agent to them. */
import type { Log } from '../../shared/log.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { RouterMethods } from '../../shared/protocol/methods.ts';
import type { Peer } from '../../shared/rpc/types.ts';
import { onAbort } from '../../shared/wait/abort.ts';

/** The sum of what the routers answered. */
export interface Released {
  /** Calls in flight and upgraded connections on the targets. */
  readonly left: number;
  /** Routers that could not be asked, so their calls are unknown. */
  readonly unasked: number;
  /** Whether a router has a call of the app on any target. */
  readonly busy: boolean;
  /** Bytes forwarded for the app that are not reported yet. */
  readonly bytes: number;
  /** Time since the last call of the app that is not reported yet; Infinity if there is none. */
  readonly idleMs: number;
}

export interface ReleaseRequest {
  readonly app: string;
  /** Ids of targets that the route table no longer names. */
  readonly targets: readonly string[];
  /** The names of the routers to ask. */
  readonly routers: readonly string[];
  /** How long routers may wait for calls to end. */
  readonly waitMs: number;
}

export interface RouterLinks {
  add(router: string, peer: Peer<RouterMethods>): void;
  /** Asks routers to drain targets. @throws the signal's reason. */
  release(request: ReleaseRequest, signal: AbortSignal): Promise<Released>;
}

/** Added to `waitMs` for the way there and back. */
const answerMs = 2_000;

export function createRouterLinks({ log }: { readonly log: Log }): RouterLinks {
  const links = new Map<string, Peer<RouterMethods>>();
  return {
    add(router, peer) {
      links.set(router, peer);
      onAbort(peer.closed, () => {
        if (links.get(router) === peer) links.delete(router);
      });
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
            log.warn({ err: toAppError(error), app, router }, 'could not ask a router to drain targets');
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
