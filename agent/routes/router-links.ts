/** The links of the routers that watch routes, to ask them something back. */
import type { Log } from '../../shared/log.ts';
import { toAppError } from '../../shared/errors.ts';
import type { RouterMethods } from '../../shared/protocol/methods.ts';
import type { Peer } from '../../shared/rpc/types.ts';

export interface RouterLinks {
  add(router: string, peer: Peer<RouterMethods>): void;
  /**
   * Asks every router to let go of targets that the route table no longer names.
   * @returns calls and upgraded connections left after at most `waitMs`; a router that cannot be asked counts as one.
   */
  release(app: string, targets: readonly string[], waitMs: number, signal: AbortSignal): Promise<number>;
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
    async release(app, targets, waitMs, signal) {
      const answers = await Promise.all(
        [...links].map(async ([router, peer]) => {
          try {
            const left = await peer.call(
              'targets.release',
              { app, targets: [...targets], waitMs },
              { signal, deadlineMs: waitMs + answerMs },
            );
            return left.inFlight + left.upgraded;
          } catch (error) {
            signal.throwIfAborted();
            log.warn({ err: toAppError(error), app, router }, 'a router could not be asked to let go of targets');
            return 1;
          }
        }),
      );
      return answers.reduce((sum, left) => sum + left, 0);
    },
  };
}
