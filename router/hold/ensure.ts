/**
 * Asks the agent to make versions run, with at most one `versions.ensure` in flight per app, however many calls are held. A call
 * whose client leaves never cancels it; asking for a newer version does.
 */
import { backoff, type Backoff } from '../../shared/wait/backoff.ts';
import type { ErrorCode } from '../../shared/error-codes.ts';
import { toAppError, type AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { AgentMethods, EnsureProgress } from '../../shared/protocol/methods.ts';
import type { WakeCause } from '../../shared/protocol/wake-cause.ts';
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
  /** The agent answered that the version runs; the targets come by a push. */
  ensured(app: string, suspects: readonly string[]): void;
  ensureProgressed(progress: EnsureProgress): void;
  /** The version cannot run. Usually the agent pushes the failure with the route a moment later. */
  ensureFailed(app: string, version: number, error: AppError): void;
  /** The agent may be asked for the app again, if calls are still held. */
  ensureRested(app: string): void;
}

/** The agent has deadlines of its own; this one is for an answer that never comes. */
const ensureDeadlineMs = 900_000;

/** Maximum number of ensures in flight, for all apps. It is below the limit of the agent, so that activity reports, which renew the lease, always get through. */
const maxAsking = 128;

/** Codes that say nothing about the version: the router asks again while calls are held. */
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

interface Wanted {
  readonly app: string;
  readonly version: number;
  readonly suspects: string[];
  readonly cause: WakeCause | undefined;
}

export class Ensures {
  readonly #deps: EnsureDeps;
  #events: EnsureEvents | undefined;
  readonly #entries = new Map<string, Entry>();
  /** Apps that wait for a place among the ensures in flight. */
  readonly #queue = new Set<string>();
  #asking = 0;

  constructor(deps: EnsureDeps) {
    this.#deps = deps;
  }

  /** Reports to `events` from now on. Set late, because what hears of ensures also asks for them. */
  reportTo(events: EnsureEvents): void {
    this.#events = events;
  }

  /** Number of ensures in flight or in the pause after one. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Asks for a version. Does nothing while the link is down, the same ensure is in flight, or one has just been answered.
   * @param suspects ids of targets that the agent should check.
   * @param head the head of the call that needs the version.
   */
  want(app: string, version: number, suspects: readonly string[], head?: RequestHead): void {
    const { agent, router } = this.#deps;
    if (agent.peer === undefined) return;
    const entry = this.#entries.get(app) ?? newEntry();
    const { state } = entry;
    if (state.kind === 'resting' || (state.kind === 'asking' && state.version === version)) return;
    if (state.kind === 'asking') state.abort.abort();
    if (this.#asking >= maxAsking) {
      this.#queue.add(app);
      return;
    }
    this.#entries.set(app, entry);
    const cause = head && wakeCauseOf(head, router);
    this.#ask(agent.peer, entry, { app, version, suspects: suspects.slice(0, 1_000), cause });
  }

  #ask(agent: Peer<AgentMethods>, entry: Entry, wanted: Wanted): void {
    const { app, version, suspects } = wanted;
    const abort = new AbortController();
    const asking: Entry['state'] = { kind: 'asking', version, abort };
    entry.state = asking;
    this.#asking += 1;
    const onItem = (progress: EnsureProgress): void => this.#events?.ensureProgressed(progress);
    agent
      .call('versions.ensure', wanted, { signal: abort.signal, deadlineMs: ensureDeadlineMs, onItem })
      .then(
        () => {
          if (entry.state !== asking) return;
          this.#rest(app, entry);
          this.#events?.ensured(app, suspects);
        },
        (reason: unknown) => {
          if (entry.state !== asking) return;
          this.#rest(app, entry);
          const error = toAppError(reason);
          this.#deps.log.warn({ app, version, err: error, code: error.code }, 'ensure failed');
          if (!passing.has(error.code)) this.#events?.ensureFailed(app, version, error);
        },
      )
      .finally(() => {
        this.#asking -= 1;
        const [next] = this.#queue;
        if (next === undefined) return;
        this.#queue.delete(next);
        this.#events?.ensureRested(next);
      });
  }

  /** Ends all pauses, because the link is up again. */
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

  /** Pauses after each answer, so that an agent that answers at once and changes nothing is not asked in a tight loop. */
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

function newEntry(): Entry {
  return { backoff: backoff({ minMs: 20, maxMs: 2_000 }), state: { kind: 'idle' } };
}
