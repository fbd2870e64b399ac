/**
 * Asks the agent to make versions run: at most one `versions.ensure` in flight per app, however many calls wait. A call
 * that leaves never cancels it; only a newer version that is wanted instead does.
 */
import { backoff, type Backoff } from '../../shared/wait/backoff.ts';
import type { ErrorCode } from '../../shared/error-codes.ts';
import { toAppError, type AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { AgentMethods, EnsureProgress } from '../../shared/protocol/methods.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { Peer } from '../../shared/rpc/types.ts';
import type { RequestHead } from '../message/request-head.ts';
import { wakeCauseOf } from './wake-cause.ts';

export interface EnsureDeps {
  /** Name of this router, for the agent's events. */
  readonly router: string;
  readonly agent: { readonly peer: Peer<AgentMethods> | undefined };
  readonly clock: Clock;
  readonly log: Log;
}

export interface EnsureEvents {
  /** The agent says that the version runs; where, it pushes. */
  ensured(app: string, suspects: readonly string[]): void;
  ensureProgressed(progress: EnsureProgress): void;
  /** The version cannot run. Normally the agent pushes the route with its failure in a moment. */
  ensureFailed(app: string, version: number, error: AppError): void;
  /** The agent may be asked about the app again, if calls still wait. */
  ensureRested(app: string): void;
}

/** The agent ends its part by its own deadlines; this one is against an answer that never comes. */
const ensureDeadlineMs = 900_000;

/** On one link, of all apps; below what the agent takes, so that reports and their lease always find room. */
const maxAsking = 128;

/** These say nothing about the version: asked again while somebody waits. */
const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'link_lost',
  'not_leader',
  'deadline_exceeded',
  'cancelled',
  'too_many_calls',
  'send_buffer_full',
  'store_unavailable',
  'fenced',
  'superseded',
  'internal',
  'unauthenticated',
  'forbidden',
  'agent_unavailable',
]);

interface Entry {
  readonly backoff: Backoff;
  state:
    | { readonly kind: 'idle' }
    | { readonly kind: 'asking'; readonly version: number; readonly abort: AbortController }
    | { readonly kind: 'resting'; readonly cancel: () => void };
}

export class Ensures {
  readonly #deps: EnsureDeps;
  #events: EnsureEvents | undefined;
  readonly #entries = new Map<string, Entry>();
  /** Apps that wait for their turn to ask. */
  readonly #queue = new Set<string>();
  #asking = 0;

  constructor(deps: EnsureDeps) {
    this.#deps = deps;
  }

  /** Reports to `events` from now on. They know the calls that wait, which ask here. */
  reportTo(events: EnsureEvents): void {
    this.#events = events;
  }

  /** How many are in flight or resting. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Does nothing while the link is down, the same is being asked, or an answer has just come.
   * @param suspects ids of targets to look at.
   * @param head of the call for which it asks.
   */
  want(app: string, version: number, suspects: readonly string[], head?: RequestHead): void {
    const {
      router,
      agent: { peer: agent },
    } = this.#deps;
    if (agent === undefined) return;
    let entry = this.#entries.get(app);
    if (entry === undefined) {
      entry = { backoff: backoff({ minMs: 20, maxMs: 2_000 }), state: { kind: 'idle' } };
      this.#entries.set(app, entry);
    }
    switch (entry.state.kind) {
      case 'resting':
        return;
      case 'asking':
        if (entry.state.version === version) return;
        entry.state.abort.abort();
        break;
      case 'idle':
        break;
    }
    if (this.#asking >= maxAsking) {
      this.#queue.add(app);
      if (entry.state.kind === 'idle') this.#entries.delete(app);
      return;
    }
    this.#asking += 1;
    const abort = new AbortController();
    const asking: Entry['state'] = { kind: 'asking', version, abort };
    entry.state = asking;
    const asked = entry;
    const cause = head && wakeCauseOf(head, router);
    agent
      .call(
        'versions.ensure',
        { app, version, suspects: suspects.slice(0, 1_000), cause },
        {
          signal: abort.signal,
          deadlineMs: ensureDeadlineMs,
          onItem: (progress) => this.#events?.ensureProgressed(progress),
        },
      )
      .then(
        () => {
          if (asked.state !== asking) return;
          this.#rest(app, asked);
          this.#events?.ensured(app, suspects);
        },
        (reason: unknown) => {
          if (asked.state !== asking) return;
          this.#rest(app, asked);
          const error = toAppError(reason);
          this.#deps.log.warn({ app, version, err: error, code: error.code }, 'ensure failed');
          if (!passing.has(error.code)) this.#events?.ensureFailed(app, version, error);
        },
      )
      .finally(() => {
        this.#asking -= 1;
        for (const next of this.#queue) {
          this.#queue.delete(next);
          this.#events?.ensureRested(next);
          return;
        }
      });
  }

  /** The link is up again: pauses end at once. */
  linkUp(): void {
    for (const [app, entry] of this.#entries) {
      if (entry.state.kind !== 'resting') continue;
      entry.state.cancel();
      this.#entries.delete(app);
    }
  }

  close(): void {
    for (const entry of this.#entries.values()) {
      if (entry.state.kind === 'resting') entry.state.cancel();
      if (entry.state.kind === 'asking') entry.state.abort.abort();
      entry.state = { kind: 'idle' };
    }
    this.#entries.clear();
    this.#queue.clear();
  }

  /** A pause after every answer, so that an agent that answers at once but changes nothing is not asked in a tight loop. */
  #rest(app: string, entry: Entry): void {
    const cancel = this.#deps.clock.after(entry.backoff.next(), () => {
      entry.state = { kind: 'idle' };
      this.#events?.ensureRested(app);
      // ensureRested may have asked again.
      if ((entry.state as Entry['state']).kind === 'idle' && this.#entries.get(app) === entry)
        this.#entries.delete(app);
    });
    entry.state = { kind: 'resting', cancel };
  }
}
