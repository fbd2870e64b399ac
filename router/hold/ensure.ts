/**
 * Asks the agent to make versions run: at most one `versions.ensure` in flight per app, however many calls wait. A call
 * that leaves never cancels it; only a newer version that is wanted instead does.
 */
import { backoff, type Backoff } from '../../shared/wait/backoff.ts';
import { toAppError, type AppError, type ErrorCode } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { AgentMethods, EnsureProgress } from '../../shared/protocol/methods.ts';
import type { WakeCause } from '../../shared/protocol/wake-cause.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { Peer } from '../../shared/rpc/types.ts';

export interface EnsureDeps {
  /** The agent, while the link is up. */
  readonly agent: () => Peer<AgentMethods> | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** The agent says that the version runs; where, it pushes. */
  readonly onEnsured: (app: string, suspects: readonly string[]) => void;
  /** How far it is with the start. */
  readonly onProgress: (progress: EnsureProgress) => void;
  /** The version cannot run. Normally the agent pushes what calls get instead. */
  readonly onFailed: (app: string, version: number, error: AppError) => void;
  /** The pause after an answer is over: ask again if calls still wait. */
  readonly onRested: (app: string) => void;
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
  readonly #entries = new Map<string, Entry>();
  /** Apps that wait for their turn to ask. */
  readonly #queue = new Set<string>();
  #asking = 0;

  constructor(deps: EnsureDeps) {
    this.#deps = deps;
  }

  /** How many are in flight or resting. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Does nothing while the link is down, the same is being asked, or an answer has just come.
   * @param cause asked for when it is told.
   */
  want(app: string, version: number, suspects: readonly string[], cause?: () => WakeCause | undefined): void {
    const agent = this.#deps.agent();
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
    const because = cause?.();
    agent
      .call(
        'versions.ensure',
        { app, version, suspects: suspects.slice(0, 1_000), ...(because && { cause: because }) },
        { signal: abort.signal, deadlineMs: ensureDeadlineMs, onItem: this.#deps.onProgress },
      )
      .then(
        () => {
          if (asked.state !== asking) return;
          this.#rest(app, asked);
          this.#deps.onEnsured(app, suspects);
        },
        (reason: unknown) => {
          if (asked.state !== asking) return;
          this.#rest(app, asked);
          const error = toAppError(reason);
          this.#deps.log.warn({ app, version, err: error, code: error.code }, 'ensure failed');
          if (!passing.has(error.code)) this.#deps.onFailed(app, version, error);
        },
      )
      .finally(() => {
        this.#asking -= 1;
        for (const next of this.#queue) {
          this.#queue.delete(next);
          this.#deps.onRested(next);
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
      this.#deps.onRested(app);
      // Read anew: onRested may have asked again.
      if ((entry.state as Entry['state']).kind === 'idle' && this.#entries.get(app) === entry)
        this.#entries.delete(app);
    });
    entry.state = { kind: 'resting', cancel };
  }
}
