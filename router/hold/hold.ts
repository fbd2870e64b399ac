/**
 * The hold: where calls wait until their app is ready, in one room per app. A room is checked whenever something changes that its
 * calls wait for: the route (by a push), a target (a call left it, a connection was made), the link to the agent, or the lease. A
 * call first takes its place, and then the room is checked, so that no change in between is lost.
 *
 * Held calls are bounded by number, per app and in all, and by age; while all targets are at their limit, also by the time that
 * the app allows for that. A call whose client leaves frees its place at once and cancels nothing. Calls are released first come,
 * first served, no faster than `maxConcurrency` allows and connections can be made, and only so many in one turn of the event
 * loop: releasing or refusing ten thousand calls must not block everything else.
 */
import { errorTable, isErrorCode } from '../../shared/error-codes.ts';
import { AppError, type FailurePhase } from '../../shared/errors.ts';
import { holdLimitOfRouter, type PublicFailure } from '../../shared/protocol/routes.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { App } from '../table/apps.ts';
import type { Ensures } from './ensure.ts';
import { Room, type HeldCall } from './room.ts';
import { lookEveryMs } from '../upstream/slow-start.ts';
import type { UpstreamTarget } from '../upstream/target.ts';

export type HoldRejection = 'app_full' | 'full' | 'timeout' | 'queue_timeout' | 'agent_unavailable';

export interface HoldDeps {
  readonly clock: Clock;
  /** Maximum number of held calls of all apps together. */
  readonly maxCalls: number;
  /** Maximum number of answers of one target that may wait for slow clients while calls wait for the target. */
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
 * Maximum number of connections being made to one target. A new target has a short accept queue; beyond it, SYNs are dropped, and
 * sent again a second later. A target that has refused a connection gets one call, and more when that has got through.
 */
const maxConnecting = 64;
/** Maximum number of calls released or refused in one turn of the event loop, which takes some milliseconds. */
const callsATurn = 100;
/** Deadlines this close together share an alarm. */
const alarmStepMs = 20;
const retryAfterMs = 2_000;

export class Hold {
  readonly #deps: HoldDeps;
  readonly #rooms = new Map<string, Room>();
  /** Closed rooms, which are being emptied over several turns of the event loop. */
  readonly #closing = new Set<Room>();
  #held = 0;

  constructor(deps: HoldDeps) {
    this.#deps = deps;
  }

  get held(): number {
    return this.#held;
  }

  heldOf(app: App): number {
    return this.#rooms.get(app.name)?.size ?? 0;
  }

  waiting(app: App): boolean {
    return this.#rooms.has(app.name);
  }

  wait(app: App, call: HeldCall): void {
    let room = this.#rooms.get(app.name);
    if (room !== undefined && room.size >= this.#limitOf(app)) return this.#refuseFull(call, 'app_full');
    if (this.#held >= this.#deps.maxCalls) return this.#refuseFull(call, 'full');
    const nowMs = this.#deps.clock.nowMs();
    if (room === undefined) this.#rooms.set(app.name, (room = new Room(app, nowMs)));
    const first = call.heldSinceMs === undefined;
    call.heldSinceMs ??= nowMs;
    (first ? room.arrived : room.returned).add(call);
    this.#held += 1;
    this.#alarmAt(room, this.#deadlineOf(room, call.heldSinceMs));
    this.#check(room);
  }

  /** An app without a limit of its own leaves half of the hold to the others. */
  #limitOf({ route: { holdMaxCalls } }: App): number {
    return holdMaxCalls < holdLimitOfRouter ? holdMaxCalls : Math.ceil(this.#deps.maxCalls / 2);
  }

  /** The client of the call has gone. */
  leave(app: App, call: HeldCall): void {
    const room = this.#rooms.get(app.name);
    if (room !== undefined && this.#take(room, call)) this.#closeIfEmpty(room);
    else if (this.#closing.size > 0) for (const closing of this.#closing) this.#take(closing, call);
  }

  /**
   * The route of the app was pushed or removed, or one of its targets has room again.
   * @param moved whether its calls may belong to another app now.
   */
  changed(app: App, moved = false): void {
    const room = this.#rooms.get(app.name);
    if (room === undefined) return;
    if (moved || !app.routed) this.#empty(room, (call) => call.reroute());
    else this.#check(room);
  }

  /** The link is up, or the lease was renewed. */
  changedAll(): void {
    for (const room of this.#rooms.values()) this.#check(room);
  }

  recheck(app: string): void {
    const room = this.#rooms.get(app);
    if (room !== undefined) this.#check(room);
  }

  /** The version cannot run, and no push has said so: calls that have waited since before that get this error. */
  failed(app: App, error: AppError, sinceMs: number): void {
    const room = this.#rooms.get(app.name);
    if (room === undefined || room.openedMs > sinceMs) return;
    // The message of the agent may name anything; the text of the code is for everybody.
    const shown = new AppError(error.code, errorTable[error.code].help, { phase: error.phase });
    this.#empty(room, (call) => call.refuse(shown, { status: failedStatus, owner: shown.owner }));
  }

  refuse(app: App, error: AppError): void {
    const room = this.#rooms.get(app.name);
    if (room !== undefined) this.#empty(room, (call) => call.refuse(error));
  }

  /** Refuses all calls at once, for the end of the process. */
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

  /** Releases the calls that the state of the app allows, and asks the agent for what the others need. */
  #check(room: Room): void {
    // A released call may come back, or end another one, before `go` returns; the outer check handles that.
    if (room.checking || room.goesOn) return;
    const { app } = room;
    room.checking = true;
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
    room.checking = false;
    this.#closeIfEmpty(room);
  }

  /** @returns whether calls remain only because all running targets are at their limit. */
  #release(room: Room): boolean {
    const { app } = room;
    const canConnect = (target: UpstreamTarget): boolean => target.connecting < (target.doubted ? 1 : maxConnecting);
    this.#growTargets(room);
    for (let count = 0; ; count += 1) {
      const call = room.first;
      if (call === undefined) return false;
      if (count === callsATurn) {
        room.goOn(() => this.#check(room));
        return room.fullSinceMs !== undefined;
      }
      const target = app.pick(canConnect);
      if (target === undefined) break;
      this.#take(room, call);
      call.go(target);
    }
    const aside = app.targets.filter((target) => target.setAside);
    // Targets are at their limit: each call that leaves one releases the next one here.
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

  /** Gives up stalled answers, so that clients that read nothing do not keep all connections from the held calls. */
  #shed({ app, size }: Room): void {
    const { maxStalled = Infinity, clock } = this.#deps;
    for (const { stalled } of app.targets) {
      if (stalled.size > maxStalled) stalled.shed(size, maxStalled, clock.nowMs());
    }
  }

  /** While calls wait, raises the limits of new targets step by step; see slow-start.ts. */
  #growTargets(room: Room): void {
    const nowMs = this.#deps.clock.nowMs();
    if (nowMs >= room.nextGrowthMs) {
      // The first step is one period after the first call had to wait: before, nothing was asked of the targets.
      if (room.nextGrowthMs > 0) for (const target of room.app.targets) target.look();
      room.nextGrowthMs = nowMs + lookEveryMs;
    }
    this.#alarmAt(room, room.nextGrowthMs);
  }

  #alarmAt(room: Room, atMs: number): void {
    room.alarmAt(atMs, this.#deps.clock, () => {
      this.#expire(room);
      this.#check(room);
    });
  }

  #fullFrom(room: Room, nowMs: number): void {
    room.fullSinceMs = nowMs;
    const call = room.first;
    if (call !== undefined) this.#alarmAt(room, this.#deadlineOf(room, call.heldSinceMs ?? nowMs));
  }

  /** The deadline of a call held since `heldSinceMs`: that of its hold, or of its wait for a target with room. */
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
          // The calls behind came later.
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
    const message = 'The app is running but at its limit, and the call waited as long as its queue_timeout allows.';
    call.refuse(new AppError('queue_timeout', message, { retryAfterMs }));
  }

  #refuseLate(app: App, call: HeldCall): void {
    const { agent, metrics } = this.#deps;
    const reachable = agent.trusted && app.targets.some((target) => !target.setAside);
    if (agent.up || reachable) {
      metrics.holdRejected('timeout');
      call.refuse(new AppError('hold_timeout', 'The app was not ready within its hold timeout.'));
    } else {
      metrics.holdRejected('agent_unavailable');
      const message = 'The app is not running, and the router could not reach the agent to start it.';
      call.refuse(new AppError('agent_unavailable', message, { retryAfterMs }));
    }
  }

  #refuseFull(call: HeldCall, reason: 'app_full' | 'full'): void {
    this.#deps.metrics.holdRejected(reason);
    const message =
      reason === 'full' ? 'Too many calls are held in this router.' : 'Too many calls are held for this app.';
    call.refuse(new AppError('hold_full', message, { retryAfterMs }));
  }

  /** Closes the room and calls `done` for each call in it, over several turns of the event loop. */
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
    if (room.size > 0 || room.checking || this.#rooms.get(room.app.name) !== room) return;
    room.close();
    this.#rooms.delete(room.app.name);
  }
}

/** Clients get 502 whatever kept the version from running. */
const failedStatus = 502;

export function refuseFailed(call: Pick<HeldCall, 'refuse'>, failure: PublicFailure): void {
  const code = isErrorCode(failure.code) ? failure.code : 'version_failed';
  const error = new AppError(code, errorTable[code].help, { phase: failure.phase as FailurePhase });
  call.refuse(error, { status: failedStatus, owner: failure.owner });
}
