/**
 * Where a held call waits: one waiting room per app. A room is looked at again whenever something changed that it waits
 * for: the route (a push), a target (a call left it, a connection stands), the link or its lease. A call first takes its
 * place and then the room is looked at, so that no change between the two is lost.
 *
 * Bounded by count per app and in all, and by age. A call that leaves frees its place at once and cancels nothing. Calls
 * are let go first come, first served, no faster than `maxConcurrency` and than connections can be made.
 */
import { AppError, errorTable, isErrorCode, type ErrorOwner, type FailurePhase } from '../shared/errors.ts';
import type { PublicFailure } from '../shared/protocol/routes.ts';
import type { Clock } from '../shared/clock.ts';
import type { App } from './apps.ts';
import type { Target } from './targets.ts';

/** A call, as the room sees it. */
export interface Waiter {
  /** When it first began to wait; set by the room and kept when it comes back, so that its deadline stays. */
  heldSinceMs: number | undefined;
  /** It may be sent to this target now. */
  go(target: Target): void;
  /** Its app is gone or has another route: look it up again. */
  reroute(): void;
  refuse(error: AppError, as?: { readonly status: number; readonly owner: ErrorOwner }): void;
}

export interface HoldDeps {
  readonly clock: Clock;
  /** Calls that may wait, of all apps. */
  readonly maxCalls: number;
  /** Asks for a version to be started; coalesced by the other side. */
  readonly want: (app: string, version: number, suspects: readonly string[]) => void;
  /** Whether what the table says may be acted on: false while the lease has run out and `on_agent_loss` is "hold". */
  readonly trusted: () => boolean;
  readonly agentUp: () => boolean;
  readonly onRejected?: (reason: 'app_full' | 'full' | 'timeout' | 'agent_unavailable') => void;
}

interface Room {
  readonly app: App;
  /** Calls that had been let go and whose target refused the connection: before all others. */
  readonly returned: Set<Waiter>;
  readonly arrived: Set<Waiter>;
  /** The next look by the clock: the earliest deadline, or the end of a target's being set aside. */
  alarm: { readonly atMs: number; readonly cancel: () => void } | undefined;
  looking: boolean;
}

/**
 * A target just born has a short accept queue; past it, SYNs are dropped and sent again a second later. One that has
 * refused a connection gets one call, and the others when that has got through.
 */
const maxConnecting = 64;
/** Time the agent's push has after its ensure failed, before the calls get the failure of that. */
const pushGraceMs = 1_000;
/** Deadlines this close together are one alarm. */
const alarmStepMs = 20;
const retryAfterMs = 2_000;

export class Hold {
  readonly #deps: HoldDeps;
  readonly #rooms = new Map<string, Room>();
  readonly #graces = new Set<() => void>();
  #held = 0;

  constructor(deps: HoldDeps) {
    this.#deps = deps;
  }

  /** Calls that wait, in all. */
  get held(): number {
    return this.#held;
  }

  heldOf(app: App): number {
    const room = this.#rooms.get(app.name);
    return room === undefined ? 0 : sizeOf(room);
  }

  /** Whether a new call must wait behind others. */
  waiting(app: App): boolean {
    return this.#rooms.has(app.name);
  }

  /** Takes the call in, or refuses it. */
  wait(app: App, waiter: Waiter): void {
    let room = this.#rooms.get(app.name);
    if (room !== undefined && sizeOf(room) >= app.route.holdMaxCalls) return this.#refuseFull(waiter, 'app_full');
    if (this.#held >= this.#deps.maxCalls) return this.#refuseFull(waiter, 'full');
    if (room === undefined) {
      room = { app, returned: new Set(), arrived: new Set(), alarm: undefined, looking: false };
      this.#rooms.set(app.name, room);
    }
    const first = waiter.heldSinceMs === undefined;
    waiter.heldSinceMs ??= this.#deps.clock.nowMs();
    (first ? room.arrived : room.returned).add(waiter);
    this.#held += 1;
    this.#alarmAt(room, waiter.heldSinceMs + app.route.holdTimeoutMs);
    this.#look(room);
  }

  /** The client has gone. */
  leave(app: App, waiter: Waiter): void {
    const room = this.#rooms.get(app.name);
    if (room !== undefined && this.#take(room, waiter)) this.#closeIfEmpty(room);
  }

  /** The app's route was pushed, or it is gone, or one of its targets has room again. */
  changed(app: App, moved = false): void {
    const room = this.#rooms.get(app.name);
    if (room === undefined) return;
    if (moved || !app.routed) {
      for (const waiter of this.#everyone(room)) {
        if (this.#take(room, waiter)) waiter.reroute();
      }
      this.#closeIfEmpty(room);
    } else this.#look(room);
  }

  /** The link is up, the lease holds again, or an ensure has ended. */
  changedAll(): void {
    for (const room of this.#rooms.values()) this.#look(room);
  }

  lookAgain(app: string): void {
    const room = this.#rooms.get(app);
    if (room !== undefined) this.#look(room);
  }

  /** The version cannot run. The push that says so comes in a moment; if none does, the calls get this error. */
  failed(app: App, version: number, error: AppError): void {
    const room = this.#rooms.get(app.name);
    const { route } = app;
    if (room === undefined || route.version !== version) return;
    const cancel = this.#deps.clock.after(pushGraceMs, () => {
      this.#graces.delete(cancel);
      if (app.route !== route || this.#rooms.get(app.name) !== room) return;
      // The message of the agent may name anything; the text of the code is for everybody.
      const shown = new AppError(error.code, errorTable[error.code].help, phaseOf(error));
      for (const waiter of this.#everyone(room)) {
        if (this.#take(room, waiter)) waiter.refuse(shown, { status: failedStatus, owner: shown.owner });
      }
      this.#closeIfEmpty(room);
    });
    this.#graces.add(cancel);
  }

  /** Everyone is refused; for the end of the process. */
  close(error: AppError): void {
    for (const cancel of this.#graces) cancel();
    this.#graces.clear();
    for (const room of this.#rooms.values()) {
      for (const waiter of this.#everyone(room)) {
        if (this.#take(room, waiter)) waiter.refuse(error);
      }
      this.#closeIfEmpty(room);
    }
  }

  /** Lets go whom the state of the app lets go, and asks for what the others need. */
  #look(room: Room): void {
    // A call let go here may come back, or end another one, before `go` returns; the outer look goes on with that.
    if (room.looking) return;
    const { app } = room;
    room.looking = true;
    if (this.#deps.trusted()) {
      const { serving, version } = app.route;
      switch (serving.state) {
        case 'failed':
          for (const waiter of this.#everyone(room)) {
            if (this.#take(room, waiter)) refuseFailed(waiter, serving.failure);
          }
          break;
        case 'hold':
          this.#deps.want(app.name, version, []);
          break;
        case 'ready':
          this.#release(room);
      }
    }
    room.looking = false;
    this.#closeIfEmpty(room);
  }

  #release(room: Room): void {
    const { app } = room;
    const nowMs = this.#deps.clock.nowMs();
    const canConnect = (target: Target): boolean => target.connecting < (target.doubted ? 1 : maxConnecting);
    for (;;) {
      const waiter = firstOf(room);
      if (waiter === undefined) return;
      const target = app.pick(nowMs, canConnect);
      if (target === undefined) break;
      this.#take(room, waiter);
      waiter.go(target);
    }
    const aside = app.targets.filter((target) => !target.usable(nowMs));
    if (aside.length < app.targets.length) return; // At their limit: the next call that leaves one lets go the next here.
    this.#deps.want(
      app.name,
      app.route.version,
      aside.map((target) => target.id),
    );
    this.#alarmAt(room, Math.min(...aside.map((target) => target.setAsideUntilMs)));
  }

  #alarmAt(room: Room, atMs: number): void {
    if (room.alarm !== undefined) {
      if (room.alarm.atMs <= atMs) return;
      room.alarm.cancel();
    }
    const delayMs = Math.max(1, atMs - this.#deps.clock.nowMs());
    const cancel = this.#deps.clock.after(delayMs, () => {
      room.alarm = undefined;
      this.#expire(room);
      this.#look(room);
    });
    room.alarm = { atMs, cancel };
  }

  #expire(room: Room): void {
    const { app } = room;
    const nowMs = this.#deps.clock.nowMs();
    let nextMs = Infinity;
    for (const waiter of this.#everyone(room)) {
      const deadlineMs = (waiter.heldSinceMs ?? nowMs) + app.route.holdTimeoutMs;
      if (deadlineMs > nowMs) nextMs = Math.min(nextMs, deadlineMs);
      else if (this.#take(room, waiter)) this.#refuseLate(app, waiter, nowMs);
    }
    if (nextMs !== Infinity) this.#alarmAt(room, Math.max(nextMs, nowMs + alarmStepMs));
  }

  #refuseLate(app: App, waiter: Waiter, nowMs: number): void {
    const reachable = this.#deps.trusted() && app.targets.some((target) => target.usable(nowMs));
    if (this.#deps.agentUp() || reachable) {
      this.#deps.onRejected?.('timeout');
      waiter.refuse(new AppError('hold_timeout', 'The call waited as long as the app allows and no version answered.'));
    } else {
      this.#deps.onRejected?.('agent_unavailable');
      waiter.refuse(
        new AppError('agent_unavailable', 'The app is not running and the agent could not be reached to start it.', {
          retryAfterMs,
        }),
      );
    }
  }

  #refuseFull(waiter: Waiter, reason: 'app_full' | 'full'): void {
    this.#deps.onRejected?.(reason);
    const message = reason === 'full' ? 'Too many calls wait in this router.' : 'Too many calls wait for this app.';
    waiter.refuse(new AppError('hold_full', message, { retryAfterMs }));
  }

  #everyone(room: Room): Waiter[] {
    return [...room.returned, ...room.arrived];
  }

  #take(room: Room, waiter: Waiter): boolean {
    const had = room.returned.delete(waiter) || room.arrived.delete(waiter);
    if (had) this.#held -= 1;
    return had;
  }

  #closeIfEmpty(room: Room): void {
    if (sizeOf(room) > 0 || room.looking) return;
    room.alarm?.cancel();
    room.alarm = undefined;
    if (this.#rooms.get(room.app.name) === room) this.#rooms.delete(room.app.name);
  }
}

/** A caller of the app sees 502 whatever failed in making its version run. */
const failedStatus = 502;

export function refuseFailed(waiter: Pick<Waiter, 'refuse'>, failure: PublicFailure): void {
  const code = isErrorCode(failure.code) ? failure.code : 'version_failed';
  const error = new AppError(code, errorTable[code].help, { phase: failure.phase as FailurePhase });
  waiter.refuse(error, { status: failedStatus, owner: failure.owner });
}

function phaseOf(error: AppError): { phase?: NonNullable<AppError['phase']> } {
  return error.phase === undefined ? {} : { phase: error.phase };
}

function sizeOf(room: Room): number {
  return room.returned.size + room.arrived.size;
}

function firstOf(room: Room): Waiter | undefined {
  for (const waiter of room.returned) return waiter;
  for (const waiter of room.arrived) return waiter;
  return undefined;
}
