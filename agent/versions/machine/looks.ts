/**
 * Has each app looked at when the clock may have made something due for it: what is awake when it may be idle, each minute what
 * has running hours, and nothing else until it changes. So it costs by what is awake and not by what there is.
 */
import type { Clock } from '../../../shared/wait/clock.ts';
import type { NextLook } from '../plan/due.ts';

interface LooksDeps {
  readonly clock: Clock;
  /** Since 1970. */
  readonly wallMs: () => number;
  readonly look: (app: string) => NextLook;
}

const turnMs = 500;
/** Later looks are made by then all the same: bounds what is left of looks that were overtaken. */
const maxAheadMs = 60_000;
const minuteMs = 60_000;

export class Looks {
  readonly #deps: LooksDeps;
  /** Apps by the turn in which they are looked at; those that have another turn by now are passed over. */
  readonly #turns = new Map<number, string[]>();
  readonly #turnOf = new Map<string, number>();
  #minutely = new Set<string>();
  #turn = 0;
  #minute: number;
  #cancel: (() => void) | undefined;

  constructor(deps: LooksDeps) {
    this.#deps = deps;
    this.#minute = Math.floor(deps.wallMs() / minuteMs);
  }

  start(): void {
    this.#cancel = this.#deps.clock.after(turnMs, () => {
      this.#lookAround();
      this.start();
    });
  }

  close(): void {
    this.#cancel?.();
  }

  changed(app: string): void {
    this.#at(app, this.#turn + 1);
  }

  #at(app: string, turn: number): void {
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
      for (const app of this.#minutely) this.#at(app, this.#turn);
      this.#minutely = new Set();
    }
    const due = this.#turns.get(this.#turn) ?? [];
    this.#turns.delete(this.#turn);
    for (const app of due) {
      if (this.#turnOf.get(app) !== this.#turn) continue;
      this.#turnOf.delete(app);
      const next = this.#deps.look(app);
      if (next === 'minute') this.#minutely.add(app);
      // What it changed itself is looked at in the next turn already.
      else if (next !== 'change' && !this.#turnOf.has(app))
        this.#at(app, this.#turn + Math.max(1, Math.ceil(Math.min(next, maxAheadMs) / turnMs)));
    }
  }
}
