/**
 * Has each app looked at when the clock may have made something due for it: twice a second what is awake, each minute what is
 * asleep and has running hours, and nothing else until it changes. So it costs by what is awake and not by what there is.
 */
import type { Clock } from '../../shared/clock.ts';
import type { NextLook } from './due.ts';

interface LooksDeps {
  readonly clock: Clock;
  /** Since 1970. */
  readonly wallMs: () => number;
  readonly look: (app: string) => NextLook;
}

const everyMs = 500;
const minuteMs = 60_000;

export class Looks {
  readonly #deps: LooksDeps;
  #soon = new Set<string>();
  #minutely = new Set<string>();
  #minute: number;
  #cancel: (() => void) | undefined;

  constructor(deps: LooksDeps) {
    this.#deps = deps;
    this.#minute = Math.floor(deps.wallMs() / minuteMs);
  }

  start(): void {
    this.#cancel = this.#deps.clock.after(everyMs, () => {
      this.#lookAround();
      this.start();
    });
  }

  close(): void {
    this.#cancel?.();
  }

  /** How many are looked at the next time, and how many each minute. */
  get sizes(): { readonly soon: number; readonly minutely: number } {
    return { soon: this.#soon.size, minutely: this.#minutely.size };
  }

  changed(app: string): void {
    this.#soon.add(app);
  }

  #lookAround(): void {
    const minute = Math.floor(this.#deps.wallMs() / minuteMs);
    if (minute !== this.#minute) {
      this.#minute = minute;
      for (const app of this.#minutely) this.#soon.add(app);
      this.#minutely.clear();
    }
    const due = this.#soon;
    this.#soon = new Set();
    for (const app of due) {
      const next = this.#deps.look(app);
      if (next === 'soon') this.#soon.add(app);
      else if (next === 'minute') this.#minutely.add(app);
    }
  }
}
