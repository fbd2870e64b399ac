/**
 * Gives new connections of TLS their turns. A handshake costs a hundred times what a call costs, and anybody who connects can have
 * one begun. So a connection that has said nothing is not begun with, each turn of the event loop has a bounded time for
 * handshakes, and the number under way is bounded. At the bound the oldest one is evicted when it has had its time: an honest
 * client needs two round trips. Clients with none under way need not wait for that, up to a reserve.
 */
import type { Socket } from 'node:net';
import type { Evictable } from '../connection-deps.ts';
import {
  Handshake,
  type HandshakeDeps,
  type HandshakeResult,
  type HandshakeScheduler,
  type HandshakeStage,
} from './handshake.ts';
import { HandshakeQueue } from './handshake-queue.ts';

export interface HandshakesDeps extends HandshakeDeps {
  /** Handshakes under way at once. */
  readonly max: number;
  readonly onEnded: (result: HandshakeResult) => void;
}

/** One turn of the event loop spends this long on handshakes; one with the common keys takes a tenth of it to all of it. */
const turnMs = 2;
/** A share of `max` on top of it, for clients that have no handshake under way. */
const reserveShare = 1 / 8;
/** A handshake that is under way is not evicted before. */
const minBegunMs = 2_000;

export class Handshakes implements HandshakeScheduler {
  readonly deps: HandshakesDeps;
  readonly #all = new Set<Handshake>();
  readonly #waiting = new HandshakeQueue<Handshake>();
  readonly #begun = new Set<Handshake>();
  readonly #begunByClient = new Map<string, number>();
  #turn: NodeJS.Immediate | undefined;

  constructor(deps: HandshakesDeps) {
    this.deps = deps;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Handshakes under way. */
  get begun(): number {
    return this.#begun.size;
  }

  get oldestFirst(): Iterable<Evictable> {
    return this.#all;
  }

  take(socket: Socket): void {
    this.#all.add(new Handshake(socket, this));
  }

  /** Gives all that are here this long to become secure. */
  finish(withinMs: number): void {
    const deadlineMs = this.deps.clock.nowMs() + withinMs;
    for (const handshake of this.#all) handshake.deadlineMs = Math.min(handshake.deadlineMs, deadlineMs);
  }

  close(): void {
    clearImmediate(this.#turn);
    for (const handshake of this.#all) handshake.end('left');
  }

  // ---- For a handshake

  waits(handshake: Handshake): void {
    this.#waiting.add(handshake);
    this.schedule();
  }

  ended(handshake: Handshake, stage: HandshakeStage, result: HandshakeResult): void {
    this.#all.delete(handshake);
    if (stage === 'waiting') this.#waiting.left();
    if (this.#begun.delete(handshake)) {
      this.#countBegun(handshake.client, -1);
      this.schedule();
    }
    this.deps.onEnded(result);
  }

  schedule(): void {
    if (this.#waiting.size > 0) this.#turn ??= setImmediate(this.#startTurn);
  }

  readonly #startTurn = (): void => {
    this.#turn = undefined;
    this.#beginNext(this.deps.clock.nowMs() + turnMs);
  };

  /** Begins one now, and the next when the work of this one is done, in this turn while there is time. */
  #beginNext(untilMs: number): void {
    // Nobody makes room for a handshake that does not wait.
    if (this.#waiting.size === 0) return;
    const { clock, max } = this.deps;
    const full = this.#begun.size >= max && !this.#evictOldest();
    if (full && this.#begun.size >= max + Math.ceil(max * reserveShare)) return;
    const handshake = this.#waiting.next((client) => !full || !this.#begunByClient.has(client));
    if (handshake === undefined) return;
    this.#begun.add(handshake);
    this.#countBegun(handshake.client, 1);
    handshake.begin();
    // Node works on what has come in its next tick, which is before this one.
    process.nextTick(() => {
      if (clock.nowMs() < untilMs) this.#beginNext(untilMs);
      else this.schedule();
    });
  }

  #countBegun(client: string, change: number): void {
    const count = (this.#begunByClient.get(client) ?? 0) + change;
    if (count === 0) this.#begunByClient.delete(client);
    else this.#begunByClient.set(client, count);
  }

  #evictOldest(): boolean {
    for (const oldest of this.#begun) {
      if (this.deps.clock.nowMs() - oldest.begunMs < minBegunMs) return false;
      oldest.evict();
      return true;
    }
    return false;
  }
}
