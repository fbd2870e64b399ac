/**
 * Follows the refs of git sources: apps with `auto_sync` at each interval, others when they are named (by a webhook or `apps.sync`). When a
 * ref has moved, the app is declared again as it is, which makes a version of the new commit.
 */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import type { PlannedChange } from '../../shared/protocol/views.ts';
import { withDeadline } from '../../shared/wait/abort.ts';
import { backoff, type Backoff } from '../../shared/wait/backoff.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import type { NewEvent } from '../store/records.ts';
import type { Sources } from './sources.ts';

export interface SyncApp {
  readonly name: string;
  /** The spec of the version that was declared last and is live or pending. */
  readonly spec: AppSpec;
  /** The source digests of that version and of the newest one, where known. */
  readonly digests: readonly (string | null)[];
}

/** The part of the version engine that syncing needs. */
export interface SyncEngine {
  apps(): readonly SyncApp[];
  /** @throws AppError app_not_found */
  app(name: string): SyncApp;
  /** Declares the app again as it is when its turn comes, which looks its source up. @throws AppError */
  repin(app: string, actor: string): Promise<PlannedChange>;
  record(event: NewEvent): void;
}

interface SyncDeps {
  readonly engine: SyncEngine;
  readonly sources: Pick<Sources, 'resolve'>;
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly log: Log;
  /** 0 ≤ x < 1; for tests. */
  readonly random?: () => number;
}

/** The state of one app between two looks at its source. */
interface SyncState {
  /** The work of the current look. */
  looking: Promise<void> | undefined;
  /** The app was named during the current look, which may have seen an older ref. */
  again: boolean;
  failing: boolean;
  notBeforeMs: number;
  readonly pause: Backoff;
}

const maxLooks = 4;
const resolveTimeoutMs = 30_000;
const maxPauseMs = 3_600_000;
const actor = 'sync';

export class Sync {
  readonly #deps: SyncDeps;
  readonly #random: () => number;
  readonly #states = new Map<string, SyncState>();
  readonly #turns = new Semaphore({ places: maxLooks });
  readonly #closing = new AbortController();
  #stopTimer: () => void;

  /** Begins the intervals. */
  constructor(deps: SyncDeps) {
    this.#deps = deps;
    this.#random = deps.random ?? Math.random;
    this.#stopTimer = this.#schedule();
  }

  apps(): readonly SyncApp[] {
    return this.#deps.engine.apps();
  }

  /** Looks these apps up soon, in the background. */
  look(apps: readonly string[]): void {
    for (const name of apps) this.#begin(name);
  }

  /** Looks the source up and declares the app. @throws AppError app_not_found, source_*; what declaring throws. */
  async now(app: string, who: string): Promise<{ change: PlannedChange; sourceDigest: string }> {
    const { engine } = this.#deps;
    if (engine.app(app).spec.source === undefined)
      throw new AppError('source_unsupported', `app ${app} has no source: it runs an image`, { phase: 'source' });
    const change = await engine.repin(app, who);
    const [sourceDigest] = engine.app(app).digests;
    if (sourceDigest === null || sourceDigest === undefined)
      throw new AppError('source_unavailable', `could not look up the source of app ${app}`, { phase: 'source' });
    return { change, sourceDigest };
  }

  async close(): Promise<void> {
    this.#stopTimer();
    this.#closing.abort(new AppError('cancelled', 'the agent stops'));
    await Promise.all([...this.#states.values()].flatMap(({ looking }) => looking ?? []));
  }

  /** Jittered, so that many agents do not ask one git server at once. */
  #schedule(): () => void {
    const { clock, intervalMs } = this.#deps;
    return clock.after(intervalMs * (0.75 + this.#random() / 2), () => {
      const names = new Set(this.apps().flatMap(({ name, spec }) => (spec.auto_sync ? [name] : [])));
      for (const [name, { looking }] of this.#states) if (!names.has(name) && !looking) this.#states.delete(name);
      for (const name of names) if (this.#stateOf(name).notBeforeMs <= clock.nowMs()) this.#begin(name);
      this.#stopTimer = this.#schedule();
    });
  }

  #stateOf(name: string): SyncState {
    let state = this.#states.get(name);
    if (state === undefined) {
      const { intervalMs: minMs } = this.#deps;
      const pause = backoff({ minMs, maxMs: Math.max(minMs, maxPauseMs), random: this.#random });
      state = { looking: undefined, again: false, failing: false, notBeforeMs: 0, pause };
      this.#states.set(name, state);
    }
    return state;
  }

  #begin(name: string): void {
    const state = this.#stateOf(name);
    if (state.looking || this.#closing.signal.aborted) {
      state.again = true;
      return;
    }
    state.looking = this.#lookUntilStill(name, state).finally(() => {
      state.looking = undefined;
    });
  }

  /** Never rejects. */
  async #lookUntilStill(name: string, state: SyncState): Promise<void> {
    const { signal } = this.#closing;
    do {
      state.again = false;
      try {
        await this.#turns.run({ signal }, () => this.#lookOnce(name));
        this.#succeeded(name, state);
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(name, state, toAppError(error));
      }
    } while (state.again && !signal.aborted);
  }

  async #lookOnce(name: string): Promise<void> {
    const { engine, sources, clock, log } = this.#deps;
    const { spec, digests } = engine.app(name);
    const message = `the ref was not looked up within ${resolveTimeoutMs / 1_000} s`;
    const digest = await withDeadline(
      {
        clock,
        ms: resolveTimeoutMs,
        signal: this.#closing.signal,
        reason: () => new AppError('source_unavailable', message, { phase: 'source' }),
      },
      (signal) => sources.resolve(spec, signal),
    );
    // The newest version may have failed or have been rolled back: it is not made again.
    if (digests.includes(digest)) return;
    const change = await engine.repin(name, actor);
    log.info({ app: name, version: change.version, digest }, 'a source has moved');
  }

  #succeeded(name: string, state: SyncState): void {
    if (state.failing) this.#record(name, 'source.sync_recovered', 'the source can be looked up again');
    state.failing = false;
    state.notBeforeMs = 0;
    state.pause.reset();
  }

  #failed(name: string, state: SyncState, error: AppError): void {
    const { clock, log } = this.#deps;
    if (error.code === 'app_not_found') return;
    state.notBeforeMs = clock.nowMs() + state.pause.next();
    if (state.failing) return;
    state.failing = true;
    log.warn({ err: error, app: name }, 'could not sync a source; trying again');
    this.#record(name, 'source.sync_failed', `${error.code}: ${error.message}`);
  }

  #record(app: string, kind: string, message: string): void {
    this.#deps.engine.record({ actor: 'holdfast', app, version: null, kind, message });
  }
}
