/** What each app did since the last report that the agent has taken. Costs by the number of apps that did something. */
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
  /** It goes on: the next part should follow at once. */
  readonly more: boolean;
  /** The agent has it: counted from zero again. Without, a later report has it all once more. */
  taken(): void;
}

/** In one report: as a frame, a third of what a link takes. */
const maxApps = 10_000;

export class Activity {
  readonly #deps: ActivityDeps;
  /**
   * Apps of which the next report may have something to say: called since the last one, or something was going on then,
   * so that the next one says if it has ended.
   */
  readonly #active = new Set<App>();
  /** Of a report that is told in parts: what is left. */
  #left: App[] = [];

  constructor(deps: ActivityDeps) {
    this.#deps = deps;
  }

  /** Apps that are looked at for a report. */
  get size(): number {
    return this.#active.size;
  }

  /** To be told at the first call of an app since a report. */
  note(app: App): void {
    this.#active.add(app);
  }

  /** Another agent, or another link: a report that was told in part begins again. */
  restart(): void {
    this.#left = [];
  }

  /** What an app does, and did that the agent does not know of yet; without what is nothing. */
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
