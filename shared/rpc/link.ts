/** Keeps a link to the agent up: dials the agent, and dials again with backoff whenever the link is lost. */
import { backoff } from '../wait/backoff.ts';
import { type AppError, toAppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { MethodTable } from '../protocol/methods.ts';
import { aborted } from '../wait/abort.ts';
import { systemClock, type Clock } from '../wait/clock.ts';
import { sleep } from '../wait/sleep.ts';
import { dial } from './dial.ts';
import { endpointUrl } from './endpoint-url.ts';
import { defaultLimits, type RpcLimits } from './limits.ts';
import { createPeer } from './peer.ts';
import type { Handlers, Identity, Peer } from './types.ts';

export interface LinkOptions<Local extends MethodTable, Remote extends MethodTable> {
  /** The base URL, `http(s)://host:port`; the WebSocket endpoint is at its `/rpc`. */
  readonly url: string;
  /** Asked at each attempt, so that a new token counts from the next one on. */
  readonly token: string | (() => string);
  /** Tells this process from others that use the same name. */
  readonly instance?: string | undefined;
  readonly local: Local;
  readonly handlers: Handlers<Local, Remote>;
  readonly remote: Remote;
  readonly limits?: Partial<RpcLimits>;
  readonly log: Log;
  readonly clock?: Clock;
  /** Called for each new link. */
  readonly onUp?: (peer: Peer<Remote>) => void;
  /** Called once for each link that was up and is lost; not for failed attempts or after `close()` on this side. */
  readonly onDown?: (reason: AppError) => void;
  readonly handshakeTimeoutMs?: number;
  /** Pauses between attempts. The backoff starts over after a link that stayed up for at least a lease. */
  readonly pauses?: { readonly minMs: number; readonly maxMs: number };
}

export interface Link<Remote extends MethodTable> {
  /** The peer while the link is up. */
  readonly peer: Peer<Remote> | undefined;
  close(): Promise<void>;
}

/** The other side may call everything on this side, which chose the server that it dials. */
const identity: Identity = { name: 'agent', scopes: ['admin'] };
/** A refused token needs someone to fix the configuration, so retrying every second would not help. */
const refusedPauses = { minMs: 5_000, maxMs: 60_000 };

/** @throws AppError config_invalid for a malformed URL. */
export function createLink<Local extends MethodTable, Remote extends MethodTable>(
  options: LinkOptions<Local, Remote>,
): Link<Remote> {
  const { log, clock = systemClock, handshakeTimeoutMs = 5_000, token } = options;
  const url = endpointUrl(options.url, 'ws');
  const limits: RpcLimits = { ...defaultLimits, ...options.limits };
  const pauses = backoff(options.pauses ?? { minMs: 200, maxMs: 5_000 });
  const pausesRefused = backoff(refusedPauses);
  const closing = new AbortController();
  let peer: Peer<Remote> | undefined;

  async function keepUp(): Promise<void> {
    while (!closing.signal.aborted) {
      const pauseMs = await attempt();
      await sleep(clock, pauseMs, closing.signal);
    }
  }

  /** Runs one link from dialling to loss. @returns the pause before the next attempt, in milliseconds. */
  async function attempt(): Promise<number> {
    try {
      const { maxFrameBytes } = limits;
      const dialled = await dial({
        url,
        instance: options.instance,
        token: typeof token === 'string' ? token : token(),
        maxFrameBytes,
        handshakeTimeoutMs,
        signal: closing.signal,
        onOpen: (socket) => createPeer({ ...options, socket, identity, limits, clock }),
      });
      // `close` was called between the handshake and this line, and has not seen this peer.
      if (closing.signal.aborted) await dialled.close();
      else await serve(dialled);
      return pauses.next();
    } catch (error) {
      return failed(toAppError(error));
    }
  }

  async function serve(up: Peer<Remote>): Promise<void> {
    const upSinceMs = clock.nowMs();
    log.info({ url }, 'the link is up');
    peer = up;
    pausesRefused.reset();
    callback(() => options.onUp?.(up));
    await aborted(up.closed);
    const reason = toAppError(up.closed.reason);
    peer = undefined;
    if (closing.signal.aborted) return;
    log.warn({ url, reason: reason.message }, 'the link is lost');
    callback(() => options.onDown?.(reason));
    if (clock.nowMs() - upSinceMs >= limits.leaseMs) pauses.reset();
  }

  function failed(error: AppError): number {
    if (closing.signal.aborted) return 0;
    const refused = error.code === 'unauthenticated' || error.code === 'forbidden';
    const pauseMs = refused ? pausesRefused.next() : pauses.next();
    const level = refused ? 'error' : 'warn';
    log[level]({ url, code: error.code, retryMs: Math.round(pauseMs) }, `no link: ${error.message}`);
    return pauseMs;
  }

  /** Runs a callback of the owner. Its failure must not end the loop that keeps the link up. */
  function callback(task: () => void): void {
    try {
      task();
    } catch (error) {
      log.error({ err: error }, 'a callback of the link failed');
    }
  }

  const done = keepUp();

  return {
    get peer() {
      return peer;
    },
    async close() {
      closing.abort();
      await peer?.close();
      await done;
    },
  };
}
