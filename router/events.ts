/** Who hears of what in a router: an event is a method, and its body is all that follows from it, in order. */
import type { AppError } from '../shared/errors.ts';
import type { EnsureProgress } from '../shared/protocol/methods.ts';
import type { Clock } from '../shared/wait/clock.ts';
import type { AgentLinkEvents } from './agent-link.ts';
import type { Call } from './call/call.ts';
import type { EnsureEvents, Ensures } from './hold/ensure.ts';
import type { Hold } from './hold/hold.ts';
import type { UnpushedFailures } from './hold/unpushed-failures.ts';
import type { PeerIdentity } from './message/peer-identity.ts';
import type { App, Apps } from './table/apps.ts';
import type { InFlight } from './table/in-flight.ts';
import type { TableEvents } from './table/table.ts';
import type { AccessLog } from './telemetry/access-log.ts';
import type { InvalidAnswers } from './telemetry/invalid-answers.ts';
import type { RouterMetrics } from './telemetry/metrics.ts';
import type { AttemptEvents } from './upstream/attempt.ts';
import type { OnDialFailed } from './upstream/dial-failures.ts';
import type { Probes } from './upstream/probes.ts';
import type { UpstreamTarget } from './upstream/target.ts';
import type { UpstreamTargets } from './upstream/targets.ts';
import type { Waiting } from './wake/waiting.ts';
import type { WakeGate } from './wake/wake-gate.ts';

export interface Listeners {
  readonly apps: Apps;
  readonly targets: UpstreamTargets;
  readonly probes: Probes;
  readonly ensures: Ensures;
  readonly failures: UnpushedFailures;
  readonly hold: Hold;
  readonly waiting: Waiting;
  readonly gate: WakeGate;
  readonly inFlight: InFlight;
  readonly onDialFailed: OnDialFailed;
  readonly invalidAnswers: InvalidAnswers;
  readonly metrics: RouterMetrics;
  readonly accessLog: AccessLog | undefined;
  readonly clock: Clock;
}

export class RouterEvents implements AttemptEvents, EnsureEvents, TableEvents, AgentLinkEvents {
  readonly #to: Listeners;

  constructor(listeners: Listeners) {
    this.#to = listeners;
  }

  // ---- Calls

  callEnded(call: Call, status: number, durationMs: number): void {
    const { metrics, accessLog } = this.#to;
    metrics.request(status, durationMs);
    if (call.heldMs !== undefined) metrics.holdEnded(call.heldMs);
    accessLog?.call(call, status, durationMs);
  }

  callUpgraded(app: App, call: Call): void {
    const { inFlight, metrics, clock } = this.#to;
    inFlight.upgraded(call, app);
    metrics.request(101, clock.nowMs() - call.arrivedMs);
  }

  tunnelClosed(app: App, call: Call, bytes: number): void {
    const { inFlight, accessLog, clock } = this.#to;
    inFlight.tunnelClosed(app, bytes);
    accessLog?.call(call, 101, clock.nowMs() - call.arrivedMs);
  }

  /** A request was refused before it became a call. */
  requestRefused(client: PeerIdentity, status: number, error?: AppError): void {
    this.#to.metrics.request(status, 0);
    this.#to.accessLog?.refused(client, status, error);
  }

  // ---- Targets

  targetConnected(app: App): void {
    this.#to.hold.changed(app);
  }

  answerInvalid(app: App, target: UpstreamTarget, call: Call, error: AppError): void {
    this.#to.invalidAnswers.add(app, target, call, error);
  }

  targetLeft(app: App, target: UpstreamTarget): void {
    this.#to.targets.left(target);
    this.#to.hold.changed(app);
  }

  dialFailed(app: App, target: UpstreamTarget, timedOut: boolean): void {
    this.#to.onDialFailed(app, target, timedOut);
  }

  // ---- Routes and the agent

  routeChanged(app: App, moved: boolean): void {
    this.#to.hold.changed(app, moved);
    this.#to.waiting.changed(app);
  }

  agentReady(): void {
    this.#to.ensures.linkUp();
    this.leaseRenewed();
  }

  leaseRenewed(): void {
    this.#to.hold.changedAll();
    this.#to.waiting.changedAll();
  }

  // ---- Ensures

  ensureProgressed(progress: EnsureProgress): void {
    const app = this.#to.apps.get(progress.app);
    if (app !== undefined) this.#to.waiting.progressed(app, progress);
  }

  ensured(name: string, suspects: readonly string[]): void {
    const { apps, probes, hold } = this.#to;
    for (const target of apps.get(name)?.targets ?? []) {
      if (suspects.includes(target.id)) probes.hurry(target);
    }
    hold.recheck(name);
  }

  ensureFailed(name: string, version: number, error: AppError): void {
    const { apps, gate, hold, failures } = this.#to;
    const app = apps.get(name);
    if (app === undefined) return;
    if (error.code !== 'wake_budget_exhausted') {
      failures.add(app, version, error);
      return;
    }
    const refusal = gate.refused(app, version, error);
    if (refusal !== undefined) hold.refuse(app, refusal);
  }

  ensureRested(name: string): void {
    const { apps, waiting, hold } = this.#to;
    const app = apps.get(name);
    if (app !== undefined) {
      // If the pending version is still not started, the next call asks again.
      app.askedPending = null;
      waiting.recheck(app);
    }
    hold.recheck(name);
  }
}
