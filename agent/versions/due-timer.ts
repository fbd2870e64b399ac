/**
 * Has each app looked at when time may have made something due for it: an app that is awake when it may be idle, one with running hours
 * each minute, and any other not before it changes. So the cost depends on how many apps are awake, not on how many there are.
 */
import type { Clock } from '../../shared/wait/clock.ts';
import type { NextLook } from './plan/due.ts';

interface DueTimerDeps {
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly look: (app: string) => NextLook;
}

const turnMs = 500;
/** No look is planned further ahead than this, so that entries of superseded looks do not pile up. */
const maxAheadMs = 60_000;
const minuteMs = 60_000;

export class DueTimer {
  readonly #deps: DueTimerDeps;
  /** Apps by the turn in which they are looked at. Entries of apps that have another turn by now are skipped. */
  readonly #turns = new Map<number, string[]>();
  readonly #turnOf = new Map<string, number>();
  #minutely = new Set<string>();
  #turn = 0;
  #minute: number;
  #stopTimer: (() => void) | undefined;

  constructor(deps: DueTimerDeps) {
    this.#deps = deps;
    this.#minute = Math.floor(deps.wallMs() / minuteMs);
  }

  start(): void {
    this.#stopTimer = this.#deps.clock.after(turnMs, () => {
      this.#lookAround();
      this.start();
    });
  }

  close(): void {
    this.#stopTimer?.();
  }

  /** The app is looked at in the next turn. */
  changed(app: string): void {
    this.#planLook(app, this.#turn + 1);
  }

  #planLook(app: string, turn: number): void {
    if (this.#turnOf.get(app) === turn) return;
    this.#turnOf.set(app, turn);
    const apps = this.#turns.get(turn);
    if (apps === undefined) this.#turns.set(turn, [app]);
    else apps.push(app);
  }

  #lookAround(): void {
    const minute = Math.floor(this.#deps.wallMs() / minuteMs);
    this.#turn += 1;
    if (minute !== this.#minute) {
      this.#minute = minute;
      for (const app of this.#minutely) this.#planLook(app, this.#turn);
      this.#minutely = new Set();
    }
    const due = this.#turns.get(this.#turn) ?? [];
    this.#turns.delete(this.#turn);
    for (const app of due) {
      if (this.#turnOf.get(app) !== this.#turn) continue;
      this.#turnOf.delete(app);
      const next = this.#deps.look(app);
      if (next === 'minute') this.#minutely.add(app);
      // If the look itself changed the app, it is planned for the next turn already.
      else if (next !== 'change' && !this.#turnOf.has(app))
        this.#planLook(app, this.#turn + Math.max(1, Math.ceil(Math.min(next, maxAheadMs) / turnMs)));
    }
  }
}
