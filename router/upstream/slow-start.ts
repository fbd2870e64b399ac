/**
 * How many calls a fresh target may have. A new pod may work on one call at a time and let a few more wait; past its accept
 * queue, SYNs are dropped and sent again after a second. So the target begins with a few calls and gets more: one for each
 * answer, and twice as many at each look while all its connections were accepted, since an app may take its time to answer.
 * Where connections hang, the target keeps to those that stand, and then gets one more at a time. Once it has taken many, only
 * the configured limits apply.
 */

/** Even a listen backlog of 16, the smallest in use, accepts these. */
const firstCalls = 16;
/** Slow start is over for a target that may have this many calls. */
const knownCalls = 1_024;

/** Time between two looks. Any network connects faster, and a dropped SYN is sent again only after a second. */
export const lookEveryMs = 100;

/** The calls of a target, as a look or an answer finds them. */
export interface Standing {
  /** Calls that have their connection. */
  readonly standing: number;
  /** Calls whose connection is being made. */
  readonly connecting: number;
  /** The part of `connecting` that the last look found, too. */
  readonly hanging: number;
}

export class SlowStart {
  #calls = firstCalls;
  /** Connections hung: add no more than one call at each look. */
  #careful = false;

  /** Calls that the target may have, besides those that hang. */
  get calls(): number {
    return this.#calls;
  }

  get over(): boolean {
    return this.#calls === Infinity;
  }

  answered({ standing, connecting }: Standing): void {
    // If its queue is full already, a call that leaves makes room for one that hangs.
    if (!this.#careful && connecting <= 2 + standing / 8) this.#grow(1);
  }

  /** Connections hang, or a dial failed: the target takes no more than what stands. */
  keepTo(standing: number): void {
    this.#careful = true;
    this.#calls = Math.max(1, standing);
  }

  /** The target may be another process than before. */
  restart(): void {
    this.#calls = firstCalls;
    this.#careful = false;
  }

  /** Must be called every `lookEveryMs` while calls wait for room. */
  look({ standing, connecting, hanging }: Standing): void {
    if (hanging > 0) {
      if (!this.#careful || standing < this.#calls) this.keepTo(standing);
    } else if (standing + connecting >= this.#calls) {
      if (this.#careful) this.#calls = Math.max(this.#calls, standing);
      this.#grow(this.#careful ? 1 : this.#calls);
    }
  }

  #grow(calls: number): void {
    this.#calls += calls;
    if (this.#calls >= knownCalls) this.#calls = Infinity;
  }
}
