/**
 * The link to the agent: takes the route table from it and acknowledges each push once every later call is treated by
 * it, reports activity, answers `targets.release`, and keeps the lease.
 *
 * The lease runs from the moment something was sent that the agent then answered: at that moment or later the agent
 * heard this router, so its own clock for the same lease ends no earlier than ours, whatever the network did between.
 */
import { toAppError } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import { agentMethods, routerMethods, type AgentMethods, type RouterMethods } from '../shared/protocol/methods.ts';
import type { RoutesItem } from '../shared/protocol/routes.ts';
import type { Clock } from '../shared/wait/clock.ts';
import type { Link, LinkOptions } from '../shared/rpc/link.ts';
import type { Handlers, Peer } from '../shared/rpc/types.ts';
import type { Activity } from './activity.ts';
import type { UpstreamTargets } from './upstream/targets.ts';

type AgentPeer = Peer<AgentMethods>;
export type AgentDial = (
  options: Pick<
    LinkOptions<RouterMethods, AgentMethods>,
    'local' | 'handlers' | 'remote' | 'onUp' | 'onDown' | 'log' | 'clock'
  >,
) => Pick<Link<AgentMethods>, 'peer' | 'close'>;

export interface AgentLinkDeps {
  /** Name of this router. */
  readonly name: string;
  readonly dial: AgentDial;
  /** A new watch begins with a snapshot. */
  readonly onWatch: () => void;
  /** Calls `applied` once the item has taken full effect. @returns false to ask for a new watch. */
  readonly onItem: (item: RoutesItem, applied: () => void) => boolean;
  /** The agent can be asked, or what is known may be trusted again. */
  readonly onBetter: (what: 'link' | 'lease') => void;
  readonly targets: Pick<UpstreamTargets, 'count' | 'whenFree'>;
  readonly activity: Activity;
  readonly clock: Clock;
  readonly log: Log;
  readonly leaseMs: number;
  readonly onAgentLoss: 'serve' | 'hold';
}

export interface AgentLink {
  readonly peer: AgentPeer | undefined;
  /** Whether a route table has come, ever. */
  readonly synced: boolean;
  /** False while the lease has run out and `on_agent_loss` is "hold". Reads the clock: right after a stopped process goes on. */
  trusted(): boolean;
  close(): Promise<void>;
}

const reportEveryMs = 2_000;

export function createAgentLink(deps: AgentLinkDeps): AgentLink {
  const { clock, log } = deps;
  let session: Session | undefined;
  let synced = false;
  let leaseFromMs = -Infinity;
  const trusted = (): boolean => deps.onAgentLoss === 'serve' || clock.nowMs() < leaseFromMs + deps.leaseMs;

  const handlers: Handlers<RouterMethods, AgentMethods> = {
    'targets.release': async ({ app, targets, waitMs }, { signal }) => {
      const end = new AbortController();
      const stop = (): void => end.abort();
      const cancel = clock.after(waitMs, stop);
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
      await deps.targets.whenFree(targets, end.signal);
      cancel();
      signal.removeEventListener('abort', stop);
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
      session?.end();
      session = new Session({
        ...deps,
        peer,
        onSynced() {
          synced = true;
        },
        onHeard(sentMs) {
          leaseFromMs = Math.max(leaseFromMs, sentMs);
          deps.onBetter('lease');
        },
      });
      log.info('agent link up');
    },
    onDown(reason) {
      session?.end();
      session = undefined;
      log.warn({ code: reason.code }, 'agent link down');
    },
  });

  return {
    get peer() {
      return session?.peer;
    },
    get synced() {
      return synced;
    },
    trusted,
    async close() {
      session?.end();
      session = undefined;
      await link.close();
    },
  };
}

interface SessionDeps extends AgentLinkDeps {
  readonly peer: AgentPeer;
  readonly onSynced: () => void;
  /** The agent has answered what was sent then. */
  readonly onHeard: (sentMs: number) => void;
}

/** One link while it lasts: the watch and the reports. */
class Session {
  readonly peer: AgentPeer;
  readonly #deps: SessionDeps;
  #watch = new AbortController();
  #synced = false;
  #ended = false;
  #stopReports: () => void = () => undefined;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
    this.peer = deps.peer;
    this.#watchRoutes();
  }

  end(): void {
    this.#ended = true;
    this.#watch.abort();
    this.#stopReports();
  }

  #watchRoutes(): void {
    const { peer, name, onWatch, log, clock } = this.#deps;
    this.#watch.abort();
    const watch = new AbortController();
    this.#watch = watch;
    // Until the snapshot the table is not to be relied on: no report, and so no renewal of the lease.
    this.#synced = false;
    this.#stopReports();
    onWatch();
    const sentMs = clock.nowMs();
    const onItem = (item: RoutesItem): void => {
      // Items of a watch that was given up may still be on their way.
      if (this.#ended || this.#watch !== watch) return;
      this.#take(item, sentMs);
    };
    peer.call('routes.watch', { router: name }, { signal: watch.signal, onItem }).then(
      () => this.#watchEnded(watch, 'ended'),
      (reason: unknown) => {
        const { code } = toAppError(reason);
        if (this.#watch === watch && !this.#ended) log.warn({ code }, 'watch of the routes failed');
        this.#watchEnded(watch, code);
      },
    );
  }

  #take(item: RoutesItem, watchSentMs: number): void {
    const watch = this.#watch;
    const applied = (): void => {
      if (!this.#ended && this.#watch === watch) this.#applied(item, watchSentMs);
    };
    if (this.#deps.onItem(item, applied)) return;
    this.#deps.log.warn({ seq: item.seq }, 'a push of the routes is missing');
    this.#watchRoutes();
  }

  /** A part of a snapshot is acknowledged too: so the agent knows that a large one makes progress. */
  #applied(item: RoutesItem, watchSentMs: number): void {
    const { peer, onSynced, onHeard, onBetter } = this.#deps;
    peer.notify('routes.ack', { seq: item.seq });
    if (this.#synced || (item.kind === 'snapshot' && item.more)) return;
    this.#synced = true;
    onSynced();
    onHeard(watchSentMs);
    onBetter('link');
    this.#deps.activity.restart();
    this.#report();
  }

  /** A link without a watch is of no use (a standby answers not_leader): the next one may lead elsewhere. */
  #watchEnded(watch: AbortController, why: string): void {
    if (this.#ended || this.#watch !== watch) return;
    this.end();
    void this.peer.close(1000, `routes.watch: ${why}`);
  }

  /** Every two seconds, also with nothing to say: the answer renews the lease. */
  #report(): void {
    const { peer, name, activity, clock, onHeard, leaseMs, log } = this.#deps;
    const periodMs = Math.min(reportEveryMs, leaseMs / 4);
    const report = activity.collect();
    const sentMs = clock.nowMs();
    const watch = this.#watch;
    const current = (): boolean => !this.#ended && this.#watch === watch;
    const repeat = (): void => {
      if (!current()) return;
      const dueMs = report.more ? 0 : sentMs + periodMs - clock.nowMs();
      this.#stopReports = clock.after(Math.max(1, dueMs), () => this.#report());
    };
    peer
      .call('activity.report', { router: name, apps: [...report.apps], more: report.more }, { deadlineMs: leaseMs })
      .then(
        () => {
          report.taken();
          if (current()) onHeard(sentMs);
          repeat();
        },
        (reason: unknown) => {
          log.debug({ code: toAppError(reason).code }, 'activity report failed');
          repeat();
        },
      );
  }
}
