/** Idle and wake, again and again, with calls at the worst moments: between the steps of a drain, and while an app is being ended. */
import { setTimeout as pause } from 'node:timers/promises';
import { callKinds, createCaller } from './callers.ts';
import type { Random } from './random.ts';
import { steps, type Step, type WatchingRouter } from './watching-router.ts';

export interface CyclesOptions {
  /** Each goes through its cycles by itself, beside the others. */
  readonly apps: readonly string[];
  /** Calls to all apps together. */
  readonly cycles: number;
  readonly routerUrls: readonly string[];
  readonly watching: WatchingRouter;
  readonly random: Random;
}

export interface Cycled {
  /** Ids of all calls that were made, as sent to the app in X-Call-Id. */
  readonly ids: readonly string[];
  /** What went wrong, in words. The first ends it all. */
  readonly failures: readonly string[];
  /** How often calls were made at which step. */
  readonly drawn: Readonly<Partial<Record<Step, number>>>;
}

/** Longer than routers are given to have their calls ended while an app drains. */
const longMs = 2_500;
const shortMs = 80;
const stepDeadlineMs = 60_000;
/**
 * After a step: up to the end of a process that was asked to stop. While it is ready: over a few reports and looks, so that calls
 * begin that the agent does not know of when it begins to drain.
 */
const jitterMs: Readonly<Record<Step, number>> = {
  draining: 12,
  acknowledged: 8,
  asked: 8,
  answered: 8,
  asleep: 120,
  ready: 700,
};

/** @throws when an app does not come to a step. */
export async function runCycles({ apps, cycles, routerUrls, watching, random }: CyclesOptions): Promise<Cycled> {
  const ids: string[] = [];
  const failures: string[] = [];
  const drawn: Partial<Record<Step, number>> = {};
  const caller = createCaller(random);
  let begun = 0;

  async function callSome(app: string, lastsMs: number): Promise<void> {
    await Promise.all(
      Array.from({ length: 1 + random.below(3) }, async () => {
        const id = `${app}-${ids.length}`;
        ids.push(id);
        const url = `${random.pick(routerUrls)}/${app}/`;
        const failure = await caller.call(random.pick(callKinds), url, id, lastsMs);
        if (failure !== undefined) failures.push(failure);
      }),
    );
  }

  async function cycle(app: string): Promise<void> {
    const step = random.pick([...steps, 'ready', 'ready', 'ready'] as const);
    drawn[step] = (drawn[step] ?? 0) + 1;
    const came = step === 'ready' || watching.next(app, step, stepDeadlineMs);
    await callSome(app, shortMs);
    if (!(await came)) throw new Error(`${app} did not come to ${step} within ${stepDeadlineMs} ms`);
    await pause(random.below(jitterMs[step] + 1));
    await callSome(app, step === 'ready' ? longMs : shortMs);
  }

  try {
    await Promise.all(
      apps.map(async (app) => {
        while (begun < cycles && failures.length === 0) {
          begun += 1;
          await cycle(app);
        }
      }),
    );
  } finally {
    caller.close();
  }
  return { ids, failures, drawn };
}
