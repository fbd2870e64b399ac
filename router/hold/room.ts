/** The held calls of one app, in order, and when to check them next. */
import type { ErrorOwner } from '../../shared/error-codes.ts';
import type { AppError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { App } from '../table/apps.ts';
import type { UpstreamTarget } from '../upstream/target.ts';

export interface HeldCall {
  readonly head: RequestHead;
  /** When the call was first held. It is kept when the call comes back, so that its deadline stays. */
  heldSinceMs: number | undefined;
  /** Releases the call to a target. */
  go(target: UpstreamTarget): void;
  /** Looks the call up again, because its app is gone or has another route. */
  reroute(): void;
  refuse(error: AppError, as?: { readonly status: number; readonly owner: ErrorOwner }): void;
}

export class Room {
  readonly app: App;
  readonly openedMs: number;
  /** Calls that were released and came back because their target refused the connection. They go before all others. */
  readonly returned = new Set<HeldCall>();
  /** Other calls, in the order of arrival. */
  readonly arrived = new Set<HeldCall>();
  /** Since when all running targets have been at their limit. */
  fullSinceMs: number | undefined;
  /** When the limits of new targets may grow next; see slow-start.ts. */
  nextGrowthMs = 0;
  checking = false;
  /** The next check by the clock: at the earliest deadline, or when a target may grow. */
  #alarm: { readonly atMs: number; readonly cancel: () => void } | undefined;
  /** Continues in the next turn of the event loop. */
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

  /** Whether work is left for the next turn of the event loop. */
  get goesOn(): boolean {
    return this.#turn !== undefined;
  }

  goOn(work: () => void): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      work();
    });
  }

  /** Sets the alarm, unless an earlier one is set, which then sets the next one. */
  alarmAt(atMs: number, clock: Clock, ring: () => void): void {
    if (this.#alarm !== undefined && this.#alarm.atMs <= atMs) return;
    this.#alarm?.cancel();
    const cancel = clock.after(Math.max(1, atMs - clock.nowMs()), () => {
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
