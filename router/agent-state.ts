/** What a router knows of its agent: whether it can be asked, and whether the route table that it gave may still be acted on. */
import type { AgentMethods } from '../shared/protocol/methods.ts';
import type { Peer } from '../shared/rpc/types.ts';
import type { Clock } from '../shared/wait/clock.ts';

export interface AgentStateDeps {
  readonly clock: Clock;
  readonly leaseMs: number;
  readonly onAgentLoss: 'serve' | 'hold';
}

export class AgentState {
  readonly #deps: AgentStateDeps;
  readonly #firstTable = Promise.withResolvers<void>();
  #synced = false;
  #leaseFromMs = -Infinity;
  peer: Peer<AgentMethods> | undefined;

  constructor(deps: AgentStateDeps) {
    this.#deps = deps;
  }

  get up(): boolean {
    return this.peer !== undefined;
  }

  /** Whether a whole route table has arrived since the router started. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Resolves when the first whole route table has arrived. */
  whenSynced(): Promise<void> {
    return this.#firstTable.promise;
  }

  /** False while the lease has run out and `on_agent_loss` is "hold". Reads the clock: a stopped process may have just continued. */
  get trusted(): boolean {
    const { clock, leaseMs, onAgentLoss } = this.#deps;
    return onAgentLoss === 'serve' || clock.nowMs() < this.#leaseFromMs + leaseMs;
  }

  tableArrived(): void {
    this.#synced = true;
    this.#firstTable.resolve();
  }

  /** The agent has answered what was sent at `sentMs`. */
  heard(sentMs: number): void {
    this.#leaseFromMs = Math.max(this.#leaseFromMs, sentMs);
  }
}
