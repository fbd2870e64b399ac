/** What each app did since the last activity report that the agent has acknowledged. The cost depends on the number of active apps. */
import type { AppActivity } from '../shared/protocol/methods.ts';
import type { Clock } from '../shared/wait/clock.ts';
import type { App } from './table/apps.ts';

export interface ActivityDeps {
  readonly apps: { get(name: string): App | undefined };
  readonly hold: { heldOf(app: App): number };
  readonly clock: Clock;
}

export interface ActivityReport {
  readonly apps: readonly AppActivity[];
  /** Whether another part should follow at once. */
  readonly more: boolean;
  /** Subtracts what the agent has acknowledged. If this is not called, a later report repeats it. */
  taken(): void;
}

/** Apps in one part of a report. Its frame has a third of the size that the link allows. */
const maxApps = 10_000;

export class Activity {
  readonly #deps: ActivityDeps;
  /**
   * Apps for the next report: those called since the last one, and those that were busy then, so that the next report says when
   * that has ended.
   */
  readonly #active = new Set<App>();
  /** The apps that are left of a report in parts. */
  #left: App[] = [];

  constructor(deps: ActivityDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#active.size;
  }

  /** To be called at the first call of an app since a report. */
  note(app: App): void {
    this.#active.add(app);
  }

  /** Begins a report in parts again, because the link or the agent is another one. */
  restart(): void {
    this.#left = [];
  }

  /** What an app is doing, and what it did that no report has said yet. */
  unreported(name: string): { readonly busy?: boolean; readonly bytes?: number; readonly idleMs?: number } {
    const app = this.#deps.apps.get(name);
    if (app === undefined) return {};
    const busy = app.inFlight + app.upgraded > 0;
    if (app.calls === 0 && app.bytes === 0) return { busy };
    return { busy, bytes: app.bytes, idleMs: busy ? 0 : Math.max(0, this.#deps.clock.nowMs() - app.lastActiveMs) };
  }

  collect(): ActivityReport {
    const nowMs = this.#deps.clock.nowMs();
    if (this.#left.length === 0) this.#left = [...this.#active];
    const told = this.#left.slice(0, maxApps);
    const rest = this.#left.slice(maxApps);
    const apps: AppActivity[] = [];
    const reported: App[] = [];
    for (const app of told) {
      if (!app.routed) {
        this.#active.delete(app);
        continue;
      }
      const held = this.#deps.hold.heldOf(app);
      const { upgraded, calls, bytes } = app;
      const inFlight = app.inFlight - app.passive;
      const idleMs = held + inFlight + upgraded > 0 ? 0 : Math.max(0, nowMs - app.lastActiveMs);
      reported.push(app);
      apps.push({ app: app.name, held, inFlight, upgraded, calls, bytes, idleMs });
    }
    return {
      apps,
      more: rest.length > 0,
      taken: () => {
        this.#left = rest;
        apps.forEach(({ held, inFlight, upgraded, calls, bytes }, index) => {
          const app = reported[index] as App;
          app.calls -= calls;
          app.bytes -= bytes;
          if (held + inFlight + upgraded === 0 && app.calls === 0 && app.bytes === 0) this.#active.delete(app);
        });
      },
    };
  }
}
