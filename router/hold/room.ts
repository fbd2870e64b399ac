/** The calls of one app that wait, in their order, and when to look at them next. */
import type { ErrorOwner } from '../../shared/error-codes.ts';
import type { AppError } from '../../shared/errors.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { App } from '../table/apps.ts';
import type { UpstreamTarget } from '../upstream/target.ts';

/** A call, as the hold sees it. */
export interface HeldCall {
  readonly head: RequestHead;
  /** When it first began to wait; set by the room and kept when it comes back, so that its deadline stays. */
  heldSinceMs: number | undefined;
  /** It may be sent to this target now. */
  go(target: UpstreamTarget): void;
  /** Its app is gone or has another route: look it up again. */
  reroute(): void;
  refuse(error: AppError, as?: { readonly status: number; readonly owner: ErrorOwner }): void;
}

export class Room {
  readonly app: App;
  readonly openedMs: number;
  /** Calls that had been let go and whose target refused the connection: before all others. */
  readonly returned = new Set<HeldCall>();
  /** By the time at which they came. */
  readonly arrived = new Set<HeldCall>();
  /** Since when targets run and none has room. */
  fullSinceMs: number | undefined;
  /** When targets are looked at by slow-start.ts next. */
  nextLookMs = 0;
  looking = false;
  /** The next look by the clock: the earliest deadline, or the next growth of a target. */
  #alarm: { readonly atMs: number; readonly cancel: () => void } | undefined;
  /** It goes on in the next turn of the loop. */
  #turn: NodeJS.Immediate | undefined;

  /** @param openedMs when its first call began to wait. */
  constructor(app: App, openedMs: number) {
    this.app = app;
    this.openedMs = openedMs;
  }

  get size(): number {
    return this.returned.size + this.arrived.size;
  }

  get first(): HeldCall | undefined {
    for (const call of this.returned) return call;
    for (const call of this.arrived) return call;
    return undefined;
  }

  take(call: HeldCall): boolean {
    return this.returned.delete(call) || this.arrived.delete(call);
  }

  /** More than one turn of the loop should do is left. */
  get goesOn(): boolean {
    return this.#turn !== undefined;
  }

  goOn(look: () => void): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      look();
    });
  }

  /** An earlier alarm stays, and sets the next one. */
  alarmAt(atMs: number, set: (ring: () => void) => () => void, ring: () => void): void {
    if (this.#alarm !== undefined) {
      if (this.#alarm.atMs <= atMs) return;
      this.#alarm.cancel();
    }
    const cancel = set(() => {
      this.#alarm = undefined;
      ring();
    });
    this.#alarm = { atMs, cancel };
  }

  close(): void {
    this.#alarm?.cancel();
    this.#alarm = undefined;
    clearImmediate(this.#turn);
    this.#turn = undefined;
  }
}
