/**
 * The route table as routers should have it, pushed to each and acknowledged by each. `settled` is what the strict
 * version check rests on: it resolves when no router can treat a later call by an older table.
 */
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Route, RoutesItem } from '../../shared/protocol/routes.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { pieces, removedAtOnce } from './pieces.ts';

export interface RouterStatus {
  readonly router: string;
  readonly connectedSecs: number;
  readonly sentSeq: number;
  readonly ackedSeq: number;
}

/** How routers came to know: by acknowledging, or by having their lease run out. */
export interface Settlement {
  readonly acknowledged: number;
  readonly expired: number;
}

export interface WatchOptions {
  readonly router: string;
  /** Identifies the link, to match acknowledgements. */
  readonly link: object;
  readonly emit: (item: RoutesItem) => Promise<void>;
  /** When the router was last heard of, on the clock of the hub. */
  readonly lastHeardMs: () => number;
  readonly signal: AbortSignal;
}

export interface RouteHub {
  /** @returns the revision to wait for. */
  publish(route: Route): number;
  remove(app: string): number;
  readonly revision: number;
  /**
   * Pushes until the signal aborts; the promise ends then.
   * @throws AppError deadline_exceeded when the router has not acknowledged a push for a lease: the link is of no use.
   */
  watch(options: WatchOptions): Promise<void>;
  acknowledge(link: object, seq: number): void;
  /**
   * Resolves once every router has acknowledged `revision` or its lease has run out. With `countUnknown`, routers that
   * an earlier leader knew count too: it also waits until a lease has passed since this hub began.
   */
  settled(
    revision: number,
    options: { readonly countUnknown: boolean; readonly signal: AbortSignal },
  ): Promise<Settlement>;
  /** Whether every router that counts has acknowledged `revision`, now: none has come or been lost since `settled`. */
  knows(revision: number): boolean;
  /** Names of the routers that count: those that watch, and those lost whose lease has not run out. */
  readonly known: readonly string[];
  readonly routers: readonly RouterStatus[];
  /** Called when a router is gone and its lease has run out, so that what it last reported no longer counts. */
  onGone(listener: (router: string) => void): void;
  close(): void;
}

interface Watch {
  readonly link: object;
  readonly options: WatchOptions;
  readonly connectedAtMs: number;
  readonly dirty: Map<string, Route | null>;
  /** Revision that each sent, not yet acknowledged item covers, by seq. */
  readonly unacked: Map<number, number>;
  sentSeq: number;
  ackedSeq: number;
  ackedRevision: number;
  wake: () => void;
  /** Set while something is to be acknowledged. */
  cancelOverdue: (() => void) | undefined;
  readonly overdue: PromiseWithResolvers<never>;
}

interface RouterRecord {
  watch: Watch | undefined;
  lastHeardMs: number;
}

/** Each is about half a millisecond of work. */
const itemsATurn = 8;

export function createRouteHub(deps: { readonly clock: Clock; readonly leaseMs: number; readonly log: Log }): RouteHub {
  const { clock, leaseMs, log } = deps;
  const routes = new Map<string, Route>();
  const records = new Map<string, RouterRecord>();
  const barriers = new Set<() => void>();
  const goneListeners: ((router: string) => void)[] = [];
  const timers = new Set<() => void>();
  const beganAtMs = clock.nowMs();
  let revision = 0;
  let closed = false;

  function later(callback: () => void, ms: number): () => void {
    const cancel = clock.after(Math.max(1, ms), () => {
      timers.delete(cancel);
      callback();
    });
    timers.add(cancel);
    return () => {
      cancel();
      timers.delete(cancel);
    };
  }

  /**
   * A router that is heard and does not acknowledge would be waited for without end. One that takes a large table in pieces
   * may take longer than a lease for all of it: it has to go on, that is all.
   */
  function expectAck(watch: Watch): void {
    const { ackedSeq } = watch;
    watch.cancelOverdue ??= later(() => {
      watch.cancelOverdue = undefined;
      if (watch.ackedSeq === ackedSeq) {
        const message = `router ${watch.options.router} has acknowledged nothing after push ${ackedSeq} for ${leaseMs} ms`;
        watch.overdue.reject(new AppError('deadline_exceeded', message));
      } else if (watch.ackedSeq < watch.sentSeq) expectAck(watch);
    }, leaseMs);
  }

  function changed(app: string, route: Route | null): number {
    revision += 1;
    for (const { watch } of records.values()) {
      watch?.dirty.set(app, route);
      watch?.wake();
    }
    return revision;
  }

  const knows = (wanted: number): boolean =>
    [...records.values()].every((record) => (record.watch?.ackedRevision ?? -1) >= wanted);

  const recheck = (): void => {
    for (const barrier of barriers) barrier();
  };

  function forget(router: string, record: RouterRecord): void {
    if (closed || record.watch || records.get(router) !== record) return;
    const leftMs = record.lastHeardMs + leaseMs - clock.nowMs();
    if (leftMs > 0) return void later(() => forget(router, record), leftMs);
    records.delete(router);
    log.warn({ router }, 'lease of a router has run out');
    for (const listener of goneListeners) listener(router);
    recheck();
  }

  async function push(watch: Watch, signal: AbortSignal): Promise<void> {
    const { emit } = watch.options;
    /** @param covers the revision that the router has with this item; -1 where more belongs to it. */
    const send = async (item: RoutesItem, covers: number): Promise<void> => {
      watch.unacked.set(item.seq, covers);
      watch.sentSeq = item.seq;
      expectAck(watch);
      await emit(item);
      // The kernel takes megabytes before `emit` waits: everything else this process does goes on between some items.
      if (covers === -1 && item.seq % itemsATurn === 0) await new Promise((resolve) => setImmediate(resolve));
    };
    // The snapshot covers the revision at its beginning; what changes while it is sent is dirty and follows as a delta.
    const covered = revision;
    for (const piece of pieces([...routes.values()])) {
      await send({ kind: 'snapshot', seq: watch.sentSeq + 1, ...piece }, piece.more ? -1 : covered);
    }
    while (!signal.aborted) {
      if (watch.dirty.size === 0) {
        await new Promise<void>((resolve) => {
          watch.wake = resolve;
        });
        continue;
      }
      const upsert: Route[] = [];
      const removed: string[] = [];
      for (const [app, route] of watch.dirty) {
        if (route) upsert.push(route);
        else removed.push(app);
      }
      watch.dirty.clear();
      const covers = revision;
      // What goes with the first piece of routes goes last of all that is removed: mostly that is one item.
      while (removed.length > removedAtOnce) {
        const remove = removed.splice(0, removedAtOnce);
        await send({ kind: 'delta', seq: watch.sentSeq + 1, upsert: [], remove }, -1);
      }
      for (const piece of pieces(upsert)) {
        const remove = removed.splice(0);
        const seq = watch.sentSeq + 1;
        await send({ kind: 'delta', seq, upsert: piece.routes, remove }, piece.more ? -1 : covers);
      }
    }
  }

  return {
    publish(route) {
      routes.set(route.app, route);
      return changed(route.app, route);
    },
    remove(app) {
      routes.delete(app);
      return changed(app, null);
    },
    get revision() {
      return revision;
    },
    async watch(options) {
      const watch: Watch = {
        link: options.link,
        options,
        connectedAtMs: clock.nowMs(),
        dirty: new Map(),
        unacked: new Map(),
        sentSeq: 0,
        ackedSeq: 0,
        ackedRevision: -1,
        wake: () => undefined,
        cancelOverdue: undefined,
        overdue: Promise.withResolvers<never>(),
      };
      const ended = new AbortController();
      const signal = AbortSignal.any([options.signal, ended.signal]);
      const record = records.get(options.router) ?? { watch: undefined, lastHeardMs: clock.nowMs() };
      record.watch = watch;
      records.set(options.router, record);
      const stop = (): void => watch.wake();
      options.signal.addEventListener('abort', stop, { once: true });
      try {
        await Promise.race([push(watch, signal), watch.overdue.promise]);
      } finally {
        options.signal.removeEventListener('abort', stop);
        watch.cancelOverdue?.();
        ended.abort(); // the push ends with its link at the latest
        watch.wake();
        // A router that came back by a new link before the old one was known to be dead keeps the new one.
        if (record.watch === watch) {
          record.watch = undefined;
          record.lastHeardMs = options.lastHeardMs();
          forget(options.router, record);
        }
        recheck();
      }
    },
    acknowledge(link, seq) {
      for (const { watch } of records.values()) {
        if (watch?.link !== link || seq <= watch.ackedSeq || seq > watch.sentSeq) continue;
        watch.ackedSeq = seq;
        for (const [sent, covers] of watch.unacked) {
          if (sent > seq) break;
          watch.ackedRevision = Math.max(watch.ackedRevision, covers);
          watch.unacked.delete(sent);
        }
        recheck();
      }
    },
    settled(wanted, { countUnknown, signal }) {
      return new Promise((resolve, reject) => {
        const waitedFor = new Set(records.keys());
        const barrier = (): void => {
          const unknownUntilMs = countUnknown ? beganAtMs + leaseMs : 0;
          if (clock.nowMs() < unknownUntilMs) return void later(barrier, unknownUntilMs - clock.nowMs());
          if (!knows(wanted)) return;
          barriers.delete(barrier);
          signal.removeEventListener('abort', aborted);
          const known = [...waitedFor].filter((router) => records.has(router)).length;
          resolve({ acknowledged: records.size, expired: waitedFor.size - known });
        };
        const aborted = (): void => {
          barriers.delete(barrier);
          reject(signal.reason as Error);
        };
        if (signal.aborted) return aborted();
        signal.addEventListener('abort', aborted, { once: true });
        barriers.add(barrier);
        barrier();
      });
    },
    knows,
    get known() {
      return [...records.keys()];
    },
    get routers() {
      return [...records].flatMap(([router, { watch }]) =>
        watch
          ? [
              {
                router,
                connectedSecs: (clock.nowMs() - watch.connectedAtMs) / 1_000,
                sentSeq: watch.sentSeq,
                ackedSeq: watch.ackedSeq,
              },
            ]
          : [],
      );
    },
    onGone(listener) {
      goneListeners.push(listener);
    },
    close() {
      closed = true;
      for (const cancel of timers) cancel();
      timers.clear();
    },
  };
}
