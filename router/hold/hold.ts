/**
 * Where a held call waits: one waiting room per app. A room is looked at again whenever something changed that it waits
 * for: the route (a push), a target (a call left it, a connection stands), the link or its lease. A call first takes its
 * place and then the room is looked at, so that no change between the two is lost.
 *
 * Bounded by count per app and in all, and by age; where targets run and all are at their limit, by the time that the app
 * gives for that. A call that leaves frees its place at once and cancels nothing. Calls are let go first come, first served,
 * no faster than `maxConcurrency` and than connections can be made, and so many in one turn of the loop: ten thousand that
 * are let go, or refused, must not keep it from everything else.
 */
import { AppError, errorTable, isErrorCode, type FailurePhase } from '../../shared/errors.ts';
import type { PublicFailure } from '../../shared/protocol/routes.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { App } from '../table/apps.ts';
import { Room, type Waiter } from './room.ts';
import { lookEveryMs } from '../upstream/slow-start.ts';
import type { UpstreamTarget } from '../upstream/target.ts';

export type HoldRejection = 'app_full' | 'full' | 'timeout' | 'queue_timeout' | 'agent_unavailable';

export interface HoldDeps {
  readonly clock: Clock;
  /** Calls that may wait, of all apps. */
  readonly maxCalls: number;
  /** Answers of one target that may wait for their clients, while calls wait for it. */
  readonly maxStalled?: number;
  /** Asks for a version to be started, for the call that waits longest; coalesced by the other side. */
  readonly want: (app: string, version: number, suspects: readonly string[], first: Waiter | undefined) => void;
  /** Whether what the table says may be acted on: false while the lease has run out and `on_agent_loss` is "hold". */
  readonly trusted: () => boolean;
  readonly agentUp: () => boolean;
  readonly onRejected?: (reason: HoldRejection) => void;
}

/**
 * A target just born has a short accept queue; past it, SYNs are dropped and sent again a second later. One that has
 * refused a connection gets one call, and the others when that has got through.
 */
const maxConnecting = 64;
/** Let go, or refused, in one turn of the loop: some milliseconds. */
const callsATurn = 100;
/** Time the agent's push has after its ensure failed, before the calls get the failure of that. */
const pushGraceMs = 1_000;
/** Deadlines this close together are one alarm. */
const alarmStepMs = 20;
const retryAfterMs = 2_000;

export class Hold {
  readonly #deps: HoldDeps;
  readonly #rooms = new Map<string, Room>();
  /** Rooms that are closed: everyone in them has to go, a turn's worth at a time. */
  readonly #closing = new Set<Room>();
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
    return this.#rooms.get(app.name)?.size ?? 0;
  }

  /** Whether a new call must wait behind others. */
  waiting(app: App): boolean {
    return this.#rooms.has(app.name);
  }

  /** Takes the call in, or refuses it. */
  wait(app: App, waiter: Waiter): void {
    let room = this.#rooms.get(app.name);
    if (room !== undefined && room.size >= app.route.holdMaxCalls) return this.#refuseFull(waiter, 'app_full');
    if (this.#held >= this.#deps.maxCalls) return this.#refuseFull(waiter, 'full');
    if (room === undefined) this.#rooms.set(app.name, (room = new Room(app)));
    const first = waiter.heldSinceMs === undefined;
    waiter.heldSinceMs ??= this.#deps.clock.nowMs();
    (first ? room.arrived : room.returned).add(waiter);
    this.#held += 1;
    this.#alarmAt(room, this.#deadlineOf(room, waiter.heldSinceMs));
    this.#look(room);
  }

  /** The client has gone. */
  leave(app: App, waiter: Waiter): void {
    const room = this.#rooms.get(app.name);
    if (room !== undefined && this.#take(room, waiter)) this.#closeIfEmpty(room);
    else if (this.#closing.size > 0) for (const closing of this.#closing) this.#take(closing, waiter);
  }

  /** The app's route was pushed, or it is gone, or one of its targets has room again. */
  changed(app: App, moved = false): void {
    const room = this.#rooms.get(app.name);
    if (room === undefined) return;
    if (moved || !app.routed) this.#empty(room, (waiter) => waiter.reroute());
    else this.#look(room);
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
      this.#empty(room, (waiter) => waiter.refuse(shown, { status: failedStatus, owner: shown.owner }));
    });
    this.#graces.add(cancel);
  }

  /** Its calls need not wait any longer. */
  refuse(app: App, error: AppError): void {
    const room = this.#rooms.get(app.name);
    if (room !== undefined) this.#empty(room, (waiter) => waiter.refuse(error));
  }

  /** Everyone is refused; for the end of the process. */
  close(error: AppError): void {
    for (const cancel of this.#graces) cancel();
    this.#graces.clear();
    for (const room of [...this.#rooms.values(), ...this.#closing]) {
      this.#rooms.delete(room.app.name);
      room.close();
      for (let waiter = room.first; waiter !== undefined; waiter = room.first) {
        this.#take(room, waiter);
        waiter.refuse(error);
      }
    }
    this.#closing.clear();
  }

  /** Lets go whom the state of the app lets go, and asks for what the others need. */
  #look(room: Room): void {
    // A call let go here may come back, or end another one, before `go` returns; the outer look goes on with that.
    if (room.looking || room.goesOn) return;
    const { app } = room;
    room.looking = true;
    let full = false;
    if (this.#deps.trusted()) {
      const { serving, version } = app.route;
      switch (serving.state) {
        case 'failed':
          this.#empty(room, (waiter) => refuseFailed(waiter, serving.failure));
          break;
        case 'hold':
          this.#deps.want(app.name, version, [], room.first);
          break;
        case 'ready':
          full = this.#release(room);
      }
    }
    if (full && room.fullSinceMs === undefined) this.#fullFrom(room, this.#deps.clock.nowMs());
    else if (!full && !room.goesOn) room.fullSinceMs = undefined;
    room.looking = false;
    this.#closeIfEmpty(room);
  }

  /** @returns whether calls wait that targets run for, and none has room. */
  #release(room: Room): boolean {
    const { app } = room;
    const canConnect = (target: UpstreamTarget): boolean => target.connecting < (target.doubted ? 1 : maxConnecting);
    this.#lookAtTargets(room);
    for (let count = 0; ; count += 1) {
      const waiter = room.first;
      if (waiter === undefined) return false;
      if (count === callsATurn) {
        room.goOn(() => this.#look(room));
        return room.fullSinceMs !== undefined;
      }
      const target = app.pick(canConnect);
      if (target === undefined) break;
      this.#take(room, waiter);
      waiter.go(target);
    }
    const aside = app.targets.filter((target) => target.setAside);
    // At their limit: the next call that leaves one lets go the next here.
    if (aside.length < app.targets.length) {
      this.#shed(room);
      return true;
    }
    this.#deps.want(
      app.name,
      app.route.version,
      aside.map((target) => target.id),
      room.first,
    );
    return false;
  }

  /** Clients who take nothing of their answers do not keep all connections from the calls that wait. */
  #shed({ app, size }: Room): void {
    const { maxStalled = Infinity, clock } = this.#deps;
    for (const { stalled } of app.targets) {
      if (stalled.size > maxStalled) stalled.shed(size, maxStalled, clock.nowMs());
    }
  }

  /** While calls wait, fresh targets are given more at each look; see slow-start.ts. */
  #lookAtTargets(room: Room): void {
    const nowMs = this.#deps.clock.nowMs();
    if (nowMs >= room.nextLookMs) {
      // The first look is one period after the first call had to wait: until then nothing was asked of the targets.
      if (room.nextLookMs > 0) for (const target of room.app.targets) target.look();
      room.nextLookMs = nowMs + lookEveryMs;
    }
    this.#alarmAt(room, room.nextLookMs);
  }

  #alarmAt(room: Room, atMs: number): void {
    const { clock } = this.#deps;
    room.alarmAt(
      atMs,
      (ring) => clock.after(Math.max(1, atMs - clock.nowMs()), ring),
      () => {
        this.#expire(room);
        this.#look(room);
      },
    );
  }

  #fullFrom(room: Room, nowMs: number): void {
    room.fullSinceMs = nowMs;
    const waiter = room.first;
    if (waiter !== undefined) this.#alarmAt(room, this.#deadlineOf(room, waiter.heldSinceMs ?? nowMs));
  }

  /** Of a call that waits since then: for its whole wait, or for that for room. */
  #deadlineOf({ app, fullSinceMs }: Room, heldSinceMs: number): number {
    const { holdTimeoutMs, queueTimeoutMs } = app.route;
    const wholeMs = heldSinceMs + holdTimeoutMs;
    if (queueTimeoutMs === undefined || fullSinceMs === undefined) return wholeMs;
    return Math.min(wholeMs, Math.max(heldSinceMs, fullSinceMs) + queueTimeoutMs);
  }

  #expire(room: Room): void {
    const nowMs = this.#deps.clock.nowMs();
    let count = 0;
    let nextMs = Infinity;
    for (const waiters of [room.returned, room.arrived]) {
      for (const waiter of waiters) {
        const heldSinceMs = waiter.heldSinceMs ?? nowMs;
        const deadlineMs = this.#deadlineOf(room, heldSinceMs);
        if (deadlineMs > nowMs) {
          nextMs = Math.min(nextMs, deadlineMs);
          // Those behind came later.
          if (waiters === room.arrived) break;
        } else if (count === callsATurn) {
          nextMs = nowMs;
          break;
        } else if (this.#take(room, waiter)) {
          count += 1;
          if (heldSinceMs + room.app.route.holdTimeoutMs > nowMs) this.#refuseQueued(waiter);
          else this.#refuseLate(room.app, waiter);
        }
      }
    }
    if (count === callsATurn && nextMs <= nowMs) this.#alarmAt(room, nowMs + 1);
    else if (nextMs !== Infinity) this.#alarmAt(room, Math.max(nextMs, nowMs + alarmStepMs));
  }

  #refuseQueued(waiter: Waiter): void {
    this.#deps.onRejected?.('queue_timeout');
    const message = 'The app runs and is busy: the call waited for room as long as the app allows.';
    waiter.refuse(new AppError('queue_timeout', message, { retryAfterMs }));
  }

  #refuseLate(app: App, waiter: Waiter): void {
    const reachable = this.#deps.trusted() && app.targets.some((target) => !target.setAside);
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

  /** The room is closed, and everyone in it is done with, in turns. */
  #empty(room: Room, done: (waiter: Waiter) => void): void {
    if (this.#rooms.get(room.app.name) === room) this.#rooms.delete(room.app.name);
    room.close();
    this.#closing.add(room);
    this.#emptyMore(room, done);
  }

  #emptyMore(room: Room, done: (waiter: Waiter) => void): void {
    for (let count = 0; count < callsATurn; count += 1) {
      const waiter = room.first;
      if (waiter === undefined) break;
      this.#take(room, waiter);
      done(waiter);
    }
    if (room.size > 0) room.goOn(() => this.#emptyMore(room, done));
    else this.#closing.delete(room);
  }

  #take(room: Room, waiter: Waiter): boolean {
    const had = room.take(waiter);
    if (had) this.#held -= 1;
    return had;
  }

  #closeIfEmpty(room: Room): void {
    if (room.size > 0 || room.looking || this.#rooms.get(room.app.name) !== room) return;
    room.close();
    this.#rooms.delete(room.app.name);
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
