/** One router's link: the route table pushed to it, as a snapshot and then as deltas, and what it has acknowledged. */
import { AppError } from '../../shared/errors.ts';
import type { Route, RoutesItem } from '../../shared/protocol/routes.ts';
import { onAbort, untilAborted } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { maxRemovedPerItem, pieces } from './pieces.ts';

export interface WatchOptions {
  readonly router: string;
  /** Tells processes that use the same name from each other, as far as they say who they are. Default: `router`. */
  readonly member?: string;
  /** Identifies the link, to match acknowledgements. */
  readonly link: object;
  /** Resolves when the link can take more. */
  readonly emit: (item: RoutesItem) => Promise<void>;
  /** When the router was last heard of, on the clock of the hub. */
  readonly lastHeardMs: () => number;
  readonly signal: AbortSignal;
}

interface RouteWatchDeps {
  readonly clock: Clock;
  readonly leaseMs: number;
  readonly options: WatchOptions;
}

/** Each takes about half a millisecond of work. */
const itemsPerTurn = 8;
/** The item is not the last one of its revision. */
const partial = -1;

export class RouteWatch {
  readonly options: WatchOptions;
  readonly connectedAtMs: number;
  readonly #clock: Clock;
  readonly #leaseMs: number;
  /** Routes that changed and are not sent yet; null for a removed one. */
  readonly #dirty = new Map<string, Route | null>();
  /** The revision that each sent, not yet acknowledged item completes, by seq. */
  readonly #unacked = new Map<number, number>();
  readonly #ended = new AbortController();
  #revision = 0;
  #sentSeq = 0;
  #ackedSeq = 0;
  #ackedRevision = -1;
  #wake: () => void = () => undefined;
  /** Set while an acknowledgement is expected. */
  #stopAckTimer: (() => void) | undefined;

  constructor({ clock, leaseMs, options }: RouteWatchDeps) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
    this.options = options;
    this.connectedAtMs = clock.nowMs();
  }

  get sentSeq(): number {
    return this.#sentSeq;
  }

  get ackedSeq(): number {
    return this.#ackedSeq;
  }

  /** The router's table is at least at this revision; -1 before the first acknowledgement. */
  get ackedRevision(): number {
    return this.#ackedRevision;
  }

  /** @param route null when the app is removed. */
  changed(app: string, route: Route | null, revision: number): void {
    this.#dirty.set(app, route);
    this.#revision = revision;
    this.#wake();
  }

  /** @returns whether the acknowledgement is news. */
  acknowledge(seq: number): boolean {
    if (seq <= this.#ackedSeq || seq > this.#sentSeq) return false;
    this.#ackedSeq = seq;
    for (const [sent, revision] of this.#unacked) {
      if (sent > seq) break;
      this.#ackedRevision = Math.max(this.#ackedRevision, revision);
      this.#unacked.delete(sent);
    }
    return true;
  }

  /**
   * Pushes the table, and then what changes, until the signal of the options aborts.
   * @throws AppError deadline_exceeded when the router has acknowledged nothing for a lease: the link is of no use.
   */
  async run(routes: readonly Route[], revision: number): Promise<void> {
    this.#revision = revision;
    try {
      await untilAborted(this.#push(routes), this.#ended.signal);
    } finally {
      this.#stopAckTimer?.();
      this.#ended.abort(); // a push that `emit` blocks ends with its link at the latest
    }
  }

  async #push(routes: readonly Route[]): Promise<void> {
    const signal = AbortSignal.any([this.options.signal, this.#ended.signal]);
    // The snapshot is of the revision at its beginning; what changes while it is sent is dirty and follows as a delta.
    const revision = this.#revision;
    for (const piece of pieces(routes))
      await this.#send({ kind: 'snapshot', seq: this.#sentSeq + 1, ...piece }, piece.more ? partial : revision);
    while (!signal.aborted) {
      if (this.#dirty.size > 0) await this.#pushChanges();
      else await this.#untilChanged(signal);
    }
  }

  async #pushChanges(): Promise<void> {
    const revision = this.#revision;
    const upsert: Route[] = [];
    const removed: string[] = [];
    for (const [app, route] of this.#dirty) {
      if (route) upsert.push(route);
      else removed.push(app);
    }
    this.#dirty.clear();
    const delta = (changed: Route[], remove: string[]): RoutesItem => {
      return { kind: 'delta', seq: this.#sentSeq + 1, upsert: changed, remove };
    };
    while (removed.length > maxRemovedPerItem)
      await this.#send(delta([], removed.splice(0, maxRemovedPerItem)), partial);
    // The remaining removals go with the first piece of routes: usually that is the only item.
    for (const piece of pieces(upsert))
      await this.#send(delta(piece.routes, removed.splice(0)), piece.more ? partial : revision);
  }

  /** @param completes the revision that the router has with this item; `partial` when more items belong to it. */
  async #send(item: RoutesItem, completes: number): Promise<void> {
    this.#unacked.set(item.seq, completes);
    this.#sentSeq = item.seq;
    this.#expectAck();
    await this.options.emit(item);
    // The kernel takes megabytes before `emit` waits, so yield to the rest of this process between some items.
    if (completes === partial && item.seq % itemsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
  }

  async #untilChanged(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    using _listener = onAbort(signal, resolve);
    await promise;
  }

  /**
   * A router that answers but does not acknowledge would be waited for without end. A large table in pieces may take longer than
   * a lease in all: the router only has to make progress.
   */
  #expectAck(): void {
    const ackedSeq = this.#ackedSeq;
    this.#stopAckTimer ??= this.#clock.after(this.#leaseMs, () => {
      this.#stopAckTimer = undefined;
      if (this.#ackedSeq > ackedSeq) {
        if (this.#ackedSeq < this.#sentSeq) this.#expectAck();
        return;
      }
      const message = `router ${this.options.router} has acknowledged nothing after push ${ackedSeq} for ${this.#leaseMs} ms`;
      this.#ended.abort(new AppError('deadline_exceeded', message));
    });
  }
}
