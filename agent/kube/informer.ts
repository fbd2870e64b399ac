/**
 * Keeps a copy of all objects of one kind up to date: it lists them, then watches from there. After a broken watch it goes
 * on from the last resourceVersion, and lists again when that is too old (410). While the API server is away the copy stays.
 */
import { backoff } from '../../shared/wait/backoff.ts';
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { cancellation, untilAborted } from '../../shared/wait/abort.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import type { KubeApi } from './api.ts';
import { isStatus } from './errors.ts';
import type { Kind, Kinds } from './kinds.ts';

export interface Informer<T> {
  get(name: string): T | undefined;
  list(): IterableIterator<T>;
  /** Resolves when the first list has arrived. @throws AppError cancelled when the signal aborts or the informer is closed. */
  synced(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export type Change<T> =
  | { readonly type: 'set'; readonly name: string; readonly value: T }
  | { readonly type: 'gone'; readonly name: string; readonly value: T };

interface InformerDeps<K extends Kind, T> {
  readonly api: Pick<KubeApi, 'list' | 'watch'>;
  readonly kind: K;
  readonly namespace: string;
  readonly labelSelector: string;
  /** Reduces an object to what is kept of it: as little as is needed, so that memory is bounded by the number of objects. */
  readonly keep: (object: Kinds[K]) => T;
  /** Called in the order of the API server, after the copy has changed. */
  readonly onChange: (change: Change<T>) => void;
  readonly log: Log;
  readonly clock: Clock;
}

/** The API server ends a watch after a random time between these, so that not all watches restart at once. */
const minWatchSecs = 60;
const maxWatchSecs = 90;
/** Longer than any watch may last: after this silence the connection is dead. */
const watchIdleMs = (maxWatchSecs + 10) * 1_000;
const shortWatchMs = 1_000;
const pageSize = 500;
/** Objects are at most 1.5 MiB in etcd; JSON of a Secret may be longer than that. */
const maxLineBytes = 4 * 1024 * 1024;

export function startInformer<K extends Kind, T>(deps: InformerDeps<K, T>): Informer<T> {
  const { api, kind, namespace, labelSelector, keep, onChange, log, clock } = deps;
  const items = new Map<string, T>();
  const stop = new AbortController();
  const first = Promise.withResolvers<void>();
  const pause = backoff({ minMs: 100, maxMs: 10_000 });
  let resourceVersion: string | undefined;

  function set(name: string, value: T): void {
    items.set(name, value);
    onChange({ type: 'set', name, value });
  }

  function drop(name: string): void {
    if (!items.has(name)) return;
    const value = items.get(name) as T;
    items.delete(name);
    onChange({ type: 'gone', name, value });
  }

  async function list(): Promise<string> {
    const missing = new Set(items.keys());
    let page: string | undefined;
    for (;;) {
      const query = { labelSelector, limit: pageSize, continue: page };
      const { items: found, metadata } = await api.list(kind, namespace, query, { signal: stop.signal });
      for (const object of found) {
        const name = object.metadata?.name ?? '';
        missing.delete(name);
        set(name, keep(object));
      }
      page = metadata?.continue;
      if (page === undefined || page === '') {
        for (const name of missing) drop(name);
        return metadata?.resourceVersion ?? '';
      }
    }
  }

  /** One watch, until the server ends it. */
  async function watch(from: string): Promise<void> {
    const query = {
      labelSelector,
      resourceVersion: from,
      allowWatchBookmarks: true,
      timeoutSeconds: Math.round(minWatchSecs + Math.random() * (maxWatchSecs - minWatchSecs)),
    };
    const call = { signal: stop.signal, idleMs: watchIdleMs, maxLineBytes };
    for await (const { type, object } of api.watch(kind, namespace, query, call)) {
      resourceVersion = object.metadata?.resourceVersion ?? resourceVersion;
      pause.reset();
      const name = object.metadata?.name ?? '';
      switch (type) {
        case 'ADDED':
        case 'MODIFIED':
          set(name, keep(object));
          break;
        case 'DELETED':
          drop(name);
          break;
        case 'BOOKMARK':
          break;
      }
    }
  }

  async function run(): Promise<void> {
    while (!stop.signal.aborted) {
      try {
        if (resourceVersion === undefined) {
          resourceVersion = await list();
          first.resolve();
        }
        const beganMs = clock.nowMs();
        await watch(resourceVersion);
        // Do not ask in a tight loop a server that ends each watch at once.
        if (clock.nowMs() - beganMs < shortWatchMs) await sleep(clock, pause.next(), stop.signal);
      } catch (error) {
        if (stop.signal.aborted) return;
        // 410 Gone: the server no longer knows what changed since our version.
        if (isStatus(error, 410)) resourceVersion = undefined;
        else log.warn({ err: toAppError(error), kind }, 'a watch of the API server broke off; it is opened again');
        await sleep(clock, pause.next(), stop.signal);
      }
    }
  }

  const running = run();
  return {
    get: (name) => items.get(name),
    list: () => items.values(),
    async synced(signal) {
      const either = AbortSignal.any([signal, stop.signal]);
      await untilAborted(first.promise, either).catch(() => {
        throw cancellation(either);
      });
    },
    async close() {
      stop.abort();
      await running;
    },
  };
}
