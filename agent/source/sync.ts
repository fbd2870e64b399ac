/**
 * Follows the refs of git sources: apps with `auto_sync` each interval, others when they are named (webhook, `apps.sync`).
 * A commit that moved becomes a version by declaring the app again as it is.
 */
import { withDeadline } from '../../shared/wait/abort.ts';
import { backoff, type Backoff } from '../../shared/wait/backoff.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import type { Change } from '../../shared/protocol/views.ts';
import type { NewEvent } from '../store/records.ts';
import type { Sources } from './sources.ts';

export interface SyncApp {
  readonly name: string;
  /** Of the version that calls get, or that waits for the next call. */
  readonly spec: AppSpec;
  /** Source digests of that version and of the newest one, where known. */
  readonly digests: readonly (string | null)[];
}

/** What syncing needs of the versions. */
export interface SyncEngine {
  apps(): readonly SyncApp[];
  /** @throws AppError app_not_found */
  app(name: string): SyncApp;
  /** Declares the app again as it is at that moment, which looks its source up anew. @throws AppError */
  repin(app: string, actor: string): Promise<Change>;
  /** Keeps the event. */
  record(event: NewEvent): void;
}

export interface Sync {
  apps(): readonly SyncApp[];
  /** Looks these apps up soon, in the background. */
  look(apps: readonly string[]): void;
  /** @throws AppError app_not_found, source_*; what declaring throws. */
  now(app: string, actor: string): Promise<{ change: Change; sourceDigest: string }>;
  close(): Promise<void>;
}

/** What is known of an app between two looks. */
interface AppState {
  looking: boolean;
  /** It was named while it was being looked at: what that look saw may be older. */
  again: boolean;
  failing: boolean;
  notBeforeMs: number;
  readonly pause: Backoff;
}

const maxLooks = 4;
const resolveTimeoutMs = 30_000;
const maxPauseMs = 3_600_000;
const actor = 'sync';

export function createSync(deps: {
  readonly engine: SyncEngine;
  readonly sources: Pick<Sources, 'resolve'>;
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly log: Log;
  /** 0 ≤ x < 1; for tests. */
  readonly random?: () => number;
}): Sync {
  const { engine, sources, clock, intervalMs, log, random = Math.random } = deps;
  const states = new Map<string, AppState>();
  const turns = new Semaphore({ places: maxLooks });
  const closing = new AbortController();
  const underWay = new Set<Promise<void>>();
  let takeBack = schedule();

  /** Jittered, so that many agents do not come to one git server at once. */
  function schedule(): () => void {
    return clock.after(intervalMs * (0.75 + random() / 2), () => {
      const apps = engine.apps().filter(({ spec }) => spec.auto_sync);
      const names = new Set(apps.map(({ name }) => name));
      for (const [name, state] of states) if (!names.has(name) && !state.looking) states.delete(name);
      for (const name of names) if (stateOf(name).notBeforeMs <= clock.nowMs()) begin(name);
      takeBack = schedule();
    });
  }

  function stateOf(name: string): AppState {
    let state = states.get(name);
    if (state === undefined) {
      const pause = backoff({ minMs: intervalMs, maxMs: Math.max(intervalMs, maxPauseMs), random });
      state = { looking: false, again: false, failing: false, notBeforeMs: 0, pause };
      states.set(name, state);
    }
    return state;
  }

  function begin(name: string): void {
    const state = stateOf(name);
    if (state.looking || closing.signal.aborted) {
      state.again = true;
      return;
    }
    state.looking = true;
    const looking = lookUntilStill(name, state).finally(() => {
      state.looking = false;
      underWay.delete(looking);
    });
    underWay.add(looking);
  }

  /** Never rejects. */
  async function lookUntilStill(name: string, state: AppState): Promise<void> {
    do {
      state.again = false;
      try {
        await turns.run({ signal: closing.signal }, () => lookOnce(name));
        if (state.failing) engine.record(event(name, 'source.sync_recovered', 'the source can be looked up again'));
        state.failing = false;
        state.notBeforeMs = 0;
        state.pause.reset();
      } catch (error) {
        if (closing.signal.aborted) return;
        failed(name, state, toAppError(error));
      }
    } while (state.again && !closing.signal.aborted);
  }

  function failed(name: string, state: AppState, error: AppError): void {
    if (error.code === 'app_not_found') return;
    state.notBeforeMs = clock.nowMs() + state.pause.next();
    if (state.failing) return;
    state.failing = true;
    log.warn({ err: error, app: name }, 'a source could not be synced; tried again');
    engine.record(event(name, 'source.sync_failed', `${error.code}: ${error.message}`));
  }

  async function lookOnce(name: string): Promise<void> {
    const { spec, digests } = engine.app(name);
    const reason = (): AppError =>
      new AppError('source_unavailable', `the ref was not looked up within ${resolveTimeoutMs / 1_000} s`, {
        phase: 'source',
      });
    const digest = await withDeadline({ clock, ms: resolveTimeoutMs, signal: closing.signal, reason }, (signal) =>
      sources.resolve(spec, signal),
    );
    // The newest version may have been rolled back, or have failed: it is not made again.
    if (digests.includes(digest)) return;
    const change = await engine.repin(name, actor);
    log.info({ app: name, version: change.version, digest }, 'the source has moved');
  }

  return {
    apps: () => engine.apps(),
    look(apps) {
      for (const name of apps) begin(name);
    },
    async now(app, who) {
      if (engine.app(app).spec.source === undefined)
        throw new AppError('source_unsupported', `app ${app} has no source: it runs an image`, { phase: 'source' });
      const change = await engine.repin(app, who);
      const [sourceDigest] = engine.app(app).digests;
      if (sourceDigest === null || sourceDigest === undefined)
        throw new AppError('source_unavailable', `what the source of app ${app} is could not be found out`, {
          phase: 'source',
        });
      return { change, sourceDigest };
    },
    async close() {
      takeBack();
      closing.abort(new AppError('cancelled', 'the agent stops'));
      await Promise.all(underWay);
    },
  };
}

function event(app: string, kind: string, message: string): NewEvent {
  return { actor: 'holdfast', app, version: null, kind, message };
}
