/** What each app did since the last report that the agent has taken; apps that did nothing are left out. */
import type { AppActivity } from '../shared/protocol/methods.ts';
import type { Clock } from '../shared/clock.ts';
import type { App } from './apps.ts';

export interface ActivityDeps {
  readonly apps: () => Iterable<App>;
  readonly heldOf: (app: App) => number;
  readonly clock: Clock;
}

export interface ActivityReport {
  readonly apps: readonly AppActivity[];
  /** The agent has it: counted from zero again. Without, the next report has it all once more. */
  taken(): void;
}

export interface Activity {
  collect(): ActivityReport;
}

export function createActivity(deps: ActivityDeps): Activity {
  /** Apps of which the last report said that something is going on: the next one says if it has ended. */
  let going = new Set<App>();
  return {
    collect() {
      const nowMs = deps.clock.nowMs();
      const now = new Set<App>();
      const reported: { app: App; calls: number; bytes: number }[] = [];
      const apps: AppActivity[] = [];
      for (const app of deps.apps()) {
        const held = deps.heldOf(app);
        const { inFlight, upgraded, calls, bytes } = app;
        if (held + inFlight + upgraded > 0) now.add(app);
        else if (calls === 0 && bytes === 0 && !going.has(app)) continue;
        reported.push({ app, calls, bytes });
        apps.push({
          app: app.name,
          held,
          inFlight,
          upgraded,
          calls,
          bytes,
          idleMs: held + inFlight + upgraded > 0 ? 0 : Math.max(0, nowMs - app.lastActiveMs),
        });
      }
      return {
        apps,
        taken() {
          going = now;
          for (const { app, calls, bytes } of reported) {
            app.calls -= calls;
            app.bytes -= bytes;
          }
        },
      };
    },
  };
}
