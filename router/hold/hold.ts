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
import { errorTable, isErrorCode } from '../../shared/error-codes.ts';
import { AppError, type FailurePhase } from '../../shared/errors.ts';
import type { PublicFailure } from '../../shared/protocol/routes.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { App } from '../table/apps.ts';
import type { Ensures } from './ensure.ts';
import { Room, type HeldCall } from './room.ts';
import { lookEveryMs } from '../upstream/slow-start.ts';
import type { UpstreamTarget } from '../upstream/target.ts';

export type HoldRejection = 'app_full' | 'full' | 'timeout' | 'queue_timeout' | 'agent_unavailable';

export interface HoldDeps {
  readonly clock: Clock;
  /** Calls that may wait, of all apps. */
  readonly maxCalls: number;
  /** Answers of one target that may wait for their clients, while calls wait for it. */
  readonly maxStalled?: number;
  readonly ensures: Pick<Ensures, 'want'>;
  readonly agent: {
    readonly up: boolean;
    /** Whether to act on the route table: false once the lease has run out and `on_agent_loss` is "hold". */
    readonly trusted: boolean;
  };
  readonly metrics: { holdRejected(reason: HoldRejection): void };
}

/**
 * A target just born has a short accept queue; past it, SYNs are dropped and sent again a second later. One that has
 * refused a connection gets one call, and the others when that has got through.
 */
const maxConnecting = 64;
/** Let go, or refused, in one turn of the loop: some milliseconds. */
const callsATurn = 100;
/** Deadlines this close together are one alarm. */
const alarmStepMs = 20;
const retryAfterMs = 2_000;

export class Hold {
  readonly #deps: HoldDeps;
  readonly #rooms = new Map<string, Room>();
  /** Rooms that are closed: everyone in them has to go, a turn's worth at a time. */
  readonly #closing = new Set<Room>();
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
  wait(app: App, call: HeldCall): void {
    let room = this.#rooms.get(app.name);
    if (room !== undefined && room.size >= app.route.holdMaxCalls) return this.#refuseFull(call, 'app_full');
    if (this.#held >= this.#deps.maxCalls) return this.#refuseFull(call, 'full');
    const nowMs = this.#deps.clock.nowMs();
    if (room === undefined) this.#rooms.set(app.name, (room = new Room(app, nowMs)));
    const first = call.heldSinceMs === undefined;
    call.heldSinceMs ??= nowMs;
    (first ? room.arrived : room.returned).add(call);
    this.#held += 1;
    this.#alarmAt(room, this.#deadlineOf(room, call.heldSinceMs));
    this.#look(room);
  }

  /** The client has gone. */
  leave(app: App, call: HeldCall): void {
    const room = this.#rooms.get(app.name);
    if (room !== undefined && this.#take(room, call)) this.#closeIfEmpty(room);
    else if (this.#closing.size > 0) for (const closing of this.#closing) this.#take(closing, call);
  }

  /** The app's route was pushed, or it is gone, or one of its targets has room again. */
  changed(app: App, moved = false): void {
    const room = this.#rooms.get(app.name);
    if (room === undefined) return;
    if (moved || !app.routed) this.#empty(room, (call) => call.reroute());
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

  /** The version cannot run, and no push has said so: calls that have waited since before that get this error. */
  failed(app: App, error: AppError, sinceMs: number): void {
    const room = this.#rooms.get(app.name);
    if (room === undefined || room.openedMs > sinceMs) return;
    // The message of the agent may name anything; the text of the code is for everybody.
    const shown = new AppError(error.code, errorTable[error.code].help, { phase: error.phase });
    this.#empty(room, (call) => call.refuse(shown, { status: failedStatus, owner: shown.owner }));
  }

  /** Its calls need not wait any longer. */
  refuse(app: App, error: AppError): void {
    const room = this.#rooms.get(app.name);
    if (room !== undefined) this.#empty(room, (call) => call.refuse(error));
  }

  /** Everyone is refused; for the end of the process. */
  close(error: AppError): void {
    for (const room of [...this.#rooms.values(), ...this.#closing]) {
      this.#rooms.delete(room.app.name);
      room.close();
      for (let call = room.first; call !== undefined; call = room.first) {
        this.#take(room, call);
        call.refuse(error);
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
    if (this.#deps.agent.trusted) {
      const { serving, version } = app.route;
      switch (serving.state) {
        case 'failed':
          this.#empty(room, (call) => refuseFailed(call, serving.failure));
          break;
        case 'hold':
          this.#deps.ensures.want(app.name, version, [], room.first?.head);
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
      const call = room.first;
      if (call === undefined) return false;
      if (count === callsATurn) {
        room.goOn(() => this.#look(room));
        return room.fullSinceMs !== undefined;
      }
      const target = app.pick(canConnect);
      if (target === undefined) break;
      this.#take(room, call);
      call.go(target);
    }
    const aside = app.targets.filter((target) => target.setAside);
    // At their limit: the next call that leaves one lets go the next here.
    if (aside.length < app.targets.length) {
      this.#shed(room);
      return true;
    }
    this.#deps.ensures.want(
      app.name,
      app.route.version,
      aside.map((target) => target.id),
      room.first?.head,
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
    const call = room.first;
    if (call !== undefined) this.#alarmAt(room, this.#deadlineOf(room, call.heldSinceMs ?? nowMs));
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
    for (const calls of [room.returned, room.arrived]) {
      for (const call of calls) {
        const heldSinceMs = call.heldSinceMs ?? nowMs;
        const deadlineMs = this.#deadlineOf(room, heldSinceMs);
        if (deadlineMs > nowMs) {
          nextMs = Math.min(nextMs, deadlineMs);
          // Those behind came later.
          if (calls === room.arrived) break;
        } else if (count === callsATurn) {
          nextMs = nowMs;
          break;
        } else if (this.#take(room, call)) {
          count += 1;
          if (heldSinceMs + room.app.route.holdTimeoutMs > nowMs) this.#refuseQueued(call);
          else this.#refuseLate(room.app, call);
        }
      }
    }
    if (count === callsATurn && nextMs <= nowMs) this.#alarmAt(room, nowMs + 1);
    else if (nextMs !== Infinity) this.#alarmAt(room, Math.max(nextMs, nowMs + alarmStepMs));
  }

  #refuseQueued(call: HeldCall): void {
    this.#deps.metrics.holdRejected('queue_timeout');
    const message = 'The app runs and is busy: the call waited for room as long as the app allows.';
    call.refuse(new AppError('queue_timeout', message, { retryAfterMs }));
  }

  #refuseLate(app: App, call: HeldCall): void {
    const reachable = this.#deps.agent.trusted && app.targets.some((target) => !target.setAside);
    if (this.#deps.agent.up || reachable) {
      this.#deps.metrics.holdRejected('timeout');
      call.refuse(new AppError('hold_timeout', 'The call waited as long as the app allows and no version answered.'));
    } else {
      this.#deps.metrics.holdRejected('agent_unavailable');
      call.refuse(
        new AppError('agent_unavailable', 'The app is not running and the agent could not be reached to start it.', {
          retryAfterMs,
        }),
      );
    }
  }

  #refuseFull(call: HeldCall, reason: 'app_full' | 'full'): void {
    this.#deps.metrics.holdRejected(reason);
    const message = reason === 'full' ? 'Too many calls wait in this router.' : 'Too many calls wait for this app.';
    call.refuse(new AppError('hold_full', message, { retryAfterMs }));
  }

  /** The room is closed, and everyone in it is done with, in turns. */
  #empty(room: Room, done: (call: HeldCall) => void): void {
    if (this.#rooms.get(room.app.name) === room) this.#rooms.delete(room.app.name);
    room.close();
    this.#closing.add(room);
    this.#emptyMore(room, done);
  }

  #emptyMore(room: Room, done: (call: HeldCall) => void): void {
    for (let count = 0; count < callsATurn; count += 1) {
      const call = room.first;
      if (call === undefined) break;
      this.#take(room, call);
      done(call);
    }
    if (room.size > 0) room.goOn(() => this.#emptyMore(room, done));
    else this.#closing.delete(room);
  }

  #take(room: Room, call: HeldCall): boolean {
    const had = room.take(call);
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

export function refuseFailed(call: Pick<HeldCall, 'refuse'>, failure: PublicFailure): void {
  const code = isErrorCode(failure.code) ? failure.code : 'version_failed';
  const error = new AppError(code, errorTable[code].help, { phase: failure.phase as FailurePhase });
  call.refuse(error, { status: failedStatus, owner: failure.owner });
}
