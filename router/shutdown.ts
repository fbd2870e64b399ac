/** How a router ends: by draining, or at once. */
import { AppError } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import type { Clock } from '../shared/wait/clock.ts';
import { sleep } from '../shared/wait/sleep.ts';
import type { CallServer } from './client/server.ts';
import type { RouterConfig } from './config.ts';
import type { Ensures } from './hold/ensure.ts';
import type { Hold } from './hold/hold.ts';
import type { UnpushedFailures } from './hold/unpushed-failures.ts';
import type { Waiting } from './wake/waiting.ts';

export interface ShutdownDeps {
  readonly config: Pick<RouterConfig, 'drain_delay_secs' | 'drain_timeout_secs'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly ensures: Pick<Ensures, 'close'>;
  readonly failures: Pick<UnpushedFailures, 'close'>;
  readonly hold: Pick<Hold, 'close'>;
  readonly waiting: Pick<Waiting, 'close'>;
  readonly tunnels: Iterable<{ goAway(): void }>;
  /** All that a router has open, in the order in which it was opened. */
  readonly open: AsyncDisposableStack;
}

/** Time after `drain_timeout_secs` for clients to read their refusals, and for both sides to close WebSockets. */
const goodbyeMs = 2_000;

export class Shutdown {
  readonly #deps: ShutdownDeps;
  #draining = false;
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  constructor(deps: ShutdownDeps) {
    this.#deps = deps;
  }

  /** Not ready any more; answers say `Connection: close`. */
  get draining(): boolean {
    return this.#draining;
  }

  async drain(server: Pick<CallServer, 'drain' | 'whenEmpty'>): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    const { config, clock, log, waiting, tunnels } = this.#deps;
    log.info('draining');
    waiting.close();
    // Load balancers take note; calls still come and are served.
    await sleep(clock, config.drain_delay_secs * 1_000, this.#closing.signal);
    server.drain();
    // Calls, held calls and upgraded connections end.
    await server.whenEmpty(config.drain_timeout_secs * 1_000);
    this.#refuseHeld();
    for (const tunnel of tunnels) tunnel.goAway();
    await server.whenEmpty(goodbyeMs);
    await this.close();
    log.info('drained');
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#draining = true;
    this.#closing.abort();
    this.#refuseHeld();
    this.#deps.waiting.close();
    await this.#deps.open.disposeAsync();
  }

  #refuseHeld(): void {
    const { ensures, failures, hold } = this.#deps;
    ensures.close();
    failures.close();
    hold.close(new AppError('router_draining', 'This router is shutting down.', { retryAfterMs: 1_000 }));
  }
}
