/** What routers say they do for each app: the ground for deciding that an app is idle. */
import type { AppActivity } from '../../shared/protocol/methods.ts';

export interface ActivityLog {
  /** A report replaces what the router said before; an app it leaves out has no call there now. */
  report(router: string, apps: readonly AppActivity[]): void;
  /** The router is gone for good. */
  forget(router: string): void;
  /** Whether any router has a call of the app now, and when one last began or ended, on the clock given. */
  of(app: string): { readonly busy: boolean; readonly lastMs: number };
}

interface Last {
  busy: boolean;
  lastMs: number;
}

export function createActivityLog({ now }: { readonly now: () => number }): ActivityLog {
  const routers = new Map<string, Map<string, Last>>();
  /** Of routers that are gone: when a call last began or ended, by app. */
  const gone = new Map<string, number>();
  return {
    report(router, apps) {
      const known = routers.get(router) ?? new Map<string, Last>();
      routers.set(router, known);
      for (const last of known.values()) last.busy = false;
      for (const { app, held, inFlight, upgraded, idleMs } of apps) {
        const lastMs = now() - idleMs;
        known.set(app, { busy: held + inFlight + upgraded > 0, lastMs: Math.max(lastMs, known.get(app)?.lastMs ?? 0) });
      }
    },
    forget(router) {
      for (const [app, { lastMs }] of routers.get(router) ?? []) gone.set(app, Math.max(lastMs, gone.get(app) ?? 0));
      routers.delete(router);
    },
    of(app) {
      let busy = false;
      let lastMs = gone.get(app) ?? 0;
      for (const apps of routers.values()) {
        const last = apps.get(app);
        if (!last) continue;
        busy ||= last.busy;
        lastMs = Math.max(lastMs, last.lastMs);
      }
      return { busy, lastMs };
    },
  };
}
