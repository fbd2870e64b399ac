/**
 * The link to the agent: receives the route table and acknowledges each push once every later call is routed by it, reports
 * activity, answers `targets.release`, and renews the lease.
 *
 * The lease runs from the moment when a message was sent that the agent has answered. The agent heard this router at that moment or
 * later, so the same lease ends no earlier on its clock than on ours, whatever the network did.
 */
import { toAppError } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import { agentMethods, routerMethods, type AgentMethods, type RouterMethods } from '../shared/protocol/methods.ts';
import type { RoutesItem } from '../shared/protocol/routes.ts';
import { deadlineSignal } from '../shared/wait/abort.ts';
import type { Clock } from '../shared/wait/clock.ts';
import type { Link, LinkOptions } from '../shared/rpc/link.ts';
import type { Handlers, Peer } from '../shared/rpc/types.ts';
import type { Activity } from './activity.ts';
import type { AgentState } from './agent-state.ts';
import type { Table } from './table/table.ts';
import type { UpstreamTargets } from './upstream/targets.ts';

export type AgentDial = (
  options: Pick<
    LinkOptions<RouterMethods, AgentMethods>,
    'local' | 'handlers' | 'remote' | 'onUp' | 'onDown' | 'log' | 'clock'
  >,
) => Pick<Link<AgentMethods>, 'peer' | 'close'>;

export interface AgentLinkEvents {
  /** The agent can be asked, and its route table is known. */
  agentReady(): void;
  leaseRenewed(): void;
}

export interface AgentLinkDeps {
  readonly name: string;
  readonly dial: AgentDial;
  readonly state: AgentState;
  readonly table: Pick<Table, 'restart' | 'apply'>;
  readonly targets: Pick<UpstreamTargets, 'count' | 'whenFree'>;
  readonly activity: Activity;
  readonly events: AgentLinkEvents;
  readonly clock: Clock;
  readonly log: Log;
  readonly leaseMs: number;
}

const reportEveryMs = 2_000;

export function createAgentLink(deps: AgentLinkDeps): { close(): Promise<void> } {
  const { clock, log, state } = deps;
  let session: AgentSession | undefined;

  const endSession = (): void => {
    session?.end();
    session = undefined;
    state.peer = undefined;
  };

  const handlers: Handlers<RouterMethods, AgentMethods> = {
    'targets.release': async ({ app, targets, waitMs }, { signal }) => {
      using end = deadlineSignal({ clock, ms: waitMs, signal });
      await deps.targets.whenFree(targets, end.signal);
      return { ...deps.targets.count(targets), ...deps.activity.unreported(app) };
    },
  };

  const link = deps.dial({
    local: routerMethods,
    remote: agentMethods,
    handlers,
    log,
    clock,
    onUp(peer) {
      endSession();
      state.peer = peer;
      session = new AgentSession(deps, peer);
      log.info('agent link up');
    },
    onDown(reason) {
      endSession();
      log.warn({ code: reason.code }, 'agent link down');
    },
  });

  return {
    async close() {
      endSession();
      await link.close();
    },
  };
}

/** One connection to the agent: its watch of the routes and its activity reports. */
class AgentSession {
  readonly #deps: AgentLinkDeps;
  readonly #peer: Peer<AgentMethods>;
  /** The current watch; it aborts when another one begins or the session ends. */
  #watch = new AbortController();
  #synced = false;
  #stopReports: () => void = () => undefined;

  constructor(deps: AgentLinkDeps, peer: Peer<AgentMethods>) {
    this.#deps = deps;
    this.#peer = peer;
    this.#watchRoutes();
  }

  end(): void {
    this.#watch.abort();
    this.#stopReports();
  }

  #watchRoutes(): void {
    const { name, table, log, clock } = this.#deps;
    this.end();
    this.#watch = new AbortController();
    // Until the snapshot is complete the table is not reliable: no report, and so no renewal of the lease.
    this.#synced = false;
    table.restart();
    const { signal } = this.#watch;
    const sentMs = clock.nowMs();
    const onItem = (item: RoutesItem): void => {
      // Items of an earlier watch may still arrive.
      if (!signal.aborted) this.#take(item, sentMs);
    };
    this.#peer.call('routes.watch', { router: name }, { signal, onItem }).then(
      () => this.#watchEnded(signal, 'ended'),
      (reason: unknown) => {
        const { code } = toAppError(reason);
        if (!signal.aborted) log.warn({ code }, 'the watch of the routes failed');
        this.#watchEnded(signal, code);
      },
    );
  }

  #take(item: RoutesItem, watchSentMs: number): void {
    const { signal } = this.#watch;
    const applied = (): void => {
      if (!signal.aborted) this.#applied(item, watchSentMs);
    };
    if (this.#deps.table.apply(item, applied)) return;
    this.#deps.log.warn({ seq: item.seq }, 'a push of the routes is missing; watching again');
    this.#watchRoutes();
  }

  /** Acknowledges parts of a snapshot too, so that the agent sees progress with a large one. */
  #applied(item: RoutesItem, watchSentMs: number): void {
    const { state, events, activity } = this.#deps;
    this.#peer.notify('routes.ack', { seq: item.seq });
    if (this.#synced || (item.kind === 'snapshot' && item.more)) return;
    this.#synced = true;
    state.tableArrived();
    this.#heard(watchSentMs);
    events.agentReady();
    activity.restart();
    this.#report();
  }

  /** Closes a link without a watch, which is useless (a standby answers not_leader): the next one may reach another agent. */
  #watchEnded(watch: AbortSignal, why: string): void {
    if (watch.aborted) return;
    this.end();
    void this.#peer.close(1000, `routes.watch: ${why}`);
  }

  /** Reports every two seconds, even if nothing happened, because the answer renews the lease. */
  #report(): void {
    const { name, activity, clock, leaseMs, log } = this.#deps;
    const { signal } = this.#watch;
    const report = activity.collect();
    const { apps, more } = report;
    const sentMs = clock.nowMs();
    const repeat = (): void => {
      if (signal.aborted) return;
      const dueMs = more ? 0 : sentMs + Math.min(reportEveryMs, leaseMs / 4) - clock.nowMs();
      this.#stopReports = clock.after(Math.max(1, dueMs), () => this.#report());
    };
    this.#peer.call('activity.report', { router: name, apps: [...apps], more }, { deadlineMs: leaseMs }).then(
      () => {
        report.taken();
        if (!signal.aborted) this.#heard(sentMs);
        repeat();
      },
      (reason: unknown) => {
        log.debug({ code: toAppError(reason).code }, 'activity report failed');
        repeat();
      },
    );
  }

  #heard(sentMs: number): void {
    this.#deps.state.heard(sentMs);
    this.#deps.events.leaseRenewed();
  }
}
