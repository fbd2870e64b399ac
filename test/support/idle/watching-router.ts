/**
 * A router beside the real ones that sends no call: it watches routes as they do, so a test learns of each step of a drain as it
 * is made, and it takes its time to acknowledge and to answer, so that there is time between the steps.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { silentLog } from '../../../shared/log.ts';
import { agentMethods, routerMethods } from '../../../shared/protocol/methods.ts';
import type { Route, RoutesItem } from '../../../shared/protocol/routes.ts';
import { createLink } from '../../../shared/rpc/link.ts';
import { whenUp } from '../../../shared/rpc/testing/when-up.ts';

/**
 * draining: routers are asked to hold · acknowledged: this one confirmed that it does · asked: what is left? · answered: nothing ·
 * asleep: it is at zero, and is being ended · ready: it runs (again).
 */
export const steps = ['draining', 'acknowledged', 'asked', 'answered', 'asleep', 'ready'] as const;
export type Step = (typeof steps)[number];

export interface WatchingRouter {
  /** @returns true as soon as the app makes the step; false at the deadline. */
  next(app: string, step: Step, deadlineMs: number): Promise<boolean>;
  /** How often each step was made, by all apps. */
  readonly counts: Readonly<Record<Step, number>>;
  close(): Promise<void>;
}

export async function startWatchingRouter(options: {
  readonly agentUrl: string;
  readonly token: string;
  /** Milliseconds before it acknowledges or answers. */
  readonly delayMs: () => number;
}): Promise<WatchingRouter> {
  const { delayMs } = options;
  const waiting = new Map<string, Set<() => void>>();
  const counts: Record<Step, number> = { draining: 0, acknowledged: 0, asked: 0, answered: 0, asleep: 0, ready: 0 };
  const end = new AbortController();

  function made(app: string, step: Step): void {
    counts[step] += 1;
    for (const done of waiting.get(`${app} ${step}`) ?? []) done();
  }

  function stepOf({ serving }: Route): Step | undefined {
    if (serving.state === 'ready') return 'ready';
    if (serving.state === 'hold' && serving.reason === 'draining') return 'draining';
    return serving.state === 'hold' && serving.reason === 'asleep' ? 'asleep' : undefined;
  }

  const link = createLink({
    url: options.agentUrl,
    token: options.token,
    local: routerMethods,
    remote: agentMethods,
    log: silentLog,
    limits: { leaseMs: 3_000, heartbeatMs: 500 },
    handlers: {
      async 'targets.release'({ app }) {
        made(app, 'asked');
        await pause(delayMs());
        setImmediate(made, app, 'answered');
        return { inFlight: 0, upgraded: 0 };
      },
    },
  });
  const peer = await whenUp(link, AbortSignal.timeout(10_000));
  let acknowledging = Promise.resolve();
  const onItem = (item: RoutesItem): void => {
    const routes = item.kind === 'snapshot' ? item.routes : item.upsert;
    const draining = routes.filter((route) => stepOf(route) === 'draining');
    for (const route of routes) {
      const step = stepOf(route);
      if (step !== undefined) made(route.app, step);
    }
    acknowledging = acknowledging.then(async () => {
      if (draining.length > 0) await pause(delayMs());
      peer.notify('routes.ack', { seq: item.seq });
      for (const { app } of draining) made(app, 'acknowledged');
    });
  };
  const watched = peer
    .call('routes.watch', { router: 'watching' }, { signal: end.signal, onItem })
    .catch(() => undefined);

  return {
    counts,
    next(app, step, deadlineMs) {
      const key = `${app} ${step}`;
      const own = waiting.get(key) ?? new Set();
      waiting.set(key, own);
      return new Promise((resolve) => {
        const finish = (came: boolean): void => {
          own.delete(done);
          clearTimeout(timer);
          resolve(came);
        };
        const done = (): void => finish(true);
        const timer = setTimeout(() => finish(false), deadlineMs);
        own.add(done);
      });
    },
    async close() {
      end.abort();
      await watched;
      await acknowledging;
      await link.close();
    },
  };
}
