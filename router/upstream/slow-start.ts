/**
 * How many calls a target may have that is not known yet. A pod just born may work on one call at a time and let a few more
 * wait; past its accept queue, SYNs are dropped and sent again after a second. So it begins with a few, and gets more: one for
 * each answer, and twice as many at each look while all connections made to it were accepted, since an app may take its time to
 * answer. Where connections hang it keeps to those that stand, and then tries one more at a time. Known to take many, it is
 * bounded by the limits alone.
 */

/** A backlog of 16, the smallest in use, takes them. */
const firstCalls = 16;
/** A target that has had so many is bounded by this no more. */
const knownCalls = 1_024;

/** Between two looks: any network connects faster, and a dropped SYN is sent again only after a second. */
export const lookEveryMs = 100;

/** What a look or an answer finds. */
export interface Standing {
  /** Calls that have their connection. */
  readonly standing: number;
  /** Calls whose connection is being made. */
  readonly connecting: number;
  /** Those of them that were there at the last look. */
  readonly hanging: number;
}

export class SlowStart {
  #calls = firstCalls;
  /** Connections hung: from there on no faster than by one a look. */
  #careful = false;

  /** Calls that it may have, those that hang apart. */
  get calls(): number {
    return this.#calls;
  }

  get over(): boolean {
    return this.#calls === Infinity;
  }

  answered({ standing, connecting }: Standing): void {
    // Where its queue is full already, one that leaves makes room for one that hangs.
    if (!this.#careful && connecting <= 2 + standing / 8) this.#grow(1);
  }

  /** Connections hang, or one was not made: what stands is what it takes. */
  keepTo(standing: number): void {
    this.#careful = true;
    this.#calls = Math.max(1, standing);
  }

  /** It is another target than it was. */
  restart(): void {
    this.#calls = firstCalls;
    this.#careful = false;
  }

  /** To be told every `lookEveryMs` while calls wait for room. */
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
