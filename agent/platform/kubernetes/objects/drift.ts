/** Repairs drift: objects that differ from the desired state are applied again, at a bounded pace. */
import { backoff, type Backoff } from '../../../../shared/wait/backoff.ts';
import { toAppError } from '../../../../shared/errors.ts';
import type { Log } from '../../../../shared/log.ts';
import type { Clock } from '../../../../shared/wait/clock.ts';
import { Semaphore } from '../../../../shared/wait/semaphore.ts';
import { sleep } from '../../../../shared/wait/sleep.ts';
import type { Desired } from './desired.ts';
import { deploymentName } from '../manifests/manifests.ts';
import type { Workloads } from './workloads.ts';

export interface Drift {
  /** Looks at the app soon, because something of it changed. */
  look(app: string): void;
  /** Cancels the repairs that are running. */
  cut(): void;
  close(): Promise<void>;
}

interface Repair {
  readonly what: string;
  /** True if somebody changed what this process had applied; false if it has not applied it yet, as after a failover. */
  readonly isDrift: boolean;
  readonly run: () => Promise<unknown>;
}

/** Gives the answer to our own request time to arrive, so that its watch event is not taken for somebody else's. */
const settleMs = 50;
/** Repairs of one app that follow each other faster than this are slowed down: somebody keeps editing it. */
const quietMs = 60_000;
const maxConcurrent = 4;

export function createDrift(deps: {
  readonly desired: Desired;
  readonly workloads: Workloads;
  readonly log: Log;
  readonly clock: Clock;
}): Drift {
  const { desired, workloads, log, clock } = deps;
  let stop = new AbortController();
  let closed = false;
  /** One loop for each app that is being looked at; `again` asks for one more round. */
  const active = new Map<string, { again: boolean; ended: Promise<void> }>();
  /** The pace of each app that is drifting, kept for a while after a repair. */
  const paces = new Map<string, { readonly pause: Backoff; repairedAtMs: number }>();
  const repairing = new Semaphore({ places: maxConcurrent });

  function repairsOf(app: string, signal: AbortSignal): Repair[] {
    const known = desired.get(app);
    if (known === undefined) return [];
    const found: Repair[] = [];
    const { service } = known;
    if (service !== undefined && !workloads.isServiceIntact(service)) {
      found.push({
        what: 'Service',
        isDrift: workloads.wasServiceApplied(service),
        run: () => workloads.applyService(service, signal),
      });
    }
    for (const { run, wanted } of known.versions.values()) {
      if (wanted === 'down') {
        if (!workloads.isAtZero(run)) {
          found.push({
            what: `scale of v${String(run.version)}`,
            isDrift: workloads.wasLowered(run),
            run: () => workloads.lower(deploymentName(run), signal),
          });
        }
      } else if (!workloads.isIntact(run) || !workloads.hasReplicas(run)) {
        found.push({
          what: `v${String(run.version)}`,
          isDrift: workloads.wasRaised(run),
          run: () => workloads.raise(run, signal),
        });
      }
    }
    return found;
  }

  /** Repairs the app if needed. @returns whether something was repaired. */
  async function repair(app: string, signal: AbortSignal): Promise<boolean> {
    // Most looks find nothing, and must not wait for a turn.
    if (repairsOf(app, signal).length === 0) return false;
    return await desired.exclusive(app, signal, async () => {
      const repairs = repairsOf(app, signal);
      for (const { what, isDrift, run } of repairs) {
        if (isDrift) log.warn({ app }, `${what} was changed or deleted by somebody else: applied again`);
        else log.debug({ app }, `${what} is applied`);
        await run();
      }
      return repairs.length > 0;
    });
  }

  async function loop(app: string, state: { again: boolean }): Promise<void> {
    const { signal } = stop;
    while (state.again && !signal.aborted) {
      state.again = false;
      await sleep(clock, settleMs, signal);
      const pace = paces.get(app);
      const hasRepairs = repairsOf(app, signal).length > 0;
      if (pace !== undefined && clock.nowMs() - pace.repairedAtMs > quietMs) paces.delete(app);
      else if (pace !== undefined && hasRepairs) await sleep(clock, pace.pause.next(), signal);
      try {
        using _place = await repairing.acquire({ signal });
        if (!(await repair(app, signal))) continue;
        remember(app);
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ err: toAppError(error), app }, 'drift could not be repaired; trying again');
        remember(app);
        state.again = true;
      }
    }
  }

  function remember(app: string): void {
    const pace = paces.get(app) ?? { pause: backoff({ minMs: 200, maxMs: 30_000 }), repairedAtMs: 0 };
    pace.repairedAtMs = clock.nowMs();
    paces.set(app, pace);
  }

  const drift: Drift = {
    look(app) {
      if (closed || desired.get(app) === undefined) {
        paces.delete(app);
        return;
      }
      const known = active.get(app);
      if (known !== undefined) {
        known.again = true;
        return;
      }
      const state = { again: true, ended: Promise.resolve() };
      active.set(app, state);
      state.ended = loop(app, state).finally(() => {
        active.delete(app);
        // It was asked for while this loop was being cancelled.
        if (state.again) drift.look(app);
      });
    },
    cut() {
      stop.abort();
      stop = new AbortController();
    },
    async close() {
      closed = true;
      stop.abort();
      await Promise.all([...active.values()].map(({ ended }) => ended));
    },
  };
  return drift;
}
