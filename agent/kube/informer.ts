/**
 * Keeps a picture of one kind of objects up to date: lists, then watches from there; after a broken watch it goes on from
 * the last resourceVersion, and lists again when that is too old (410). While the API server is away the picture stays.
 */
import { backoff } from '../../shared/wait/backoff.ts';
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import { isStatus, KubeApiError, type KubeApi } from './api.ts';
import type { KubeList, KubeObject } from './kube-types.ts';
import { until } from './wait.ts';

export interface Informer<T> {
  get(name: string): T | undefined;
  list(): IterableIterator<T>;
  /** Resolves when the first list has come. @throws AppError cancelled, or platform_error after close. */
  synced(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export type Change<T> =
  | { readonly type: 'set'; readonly name: string; readonly value: T }
  | { readonly type: 'gone'; readonly name: string; readonly value: T };

interface InformerDeps<K extends KubeObject, T> {
  readonly api: Pick<KubeApi, 'request' | 'lines'>;
  /** As in `/api/v1/namespaces/apps/pods`. */
  readonly path: string;
  readonly labelSelector: string;
  /** What is kept of an object: as little as is needed, so that memory is bounded by the number of objects. */
  readonly keep: (object: K) => T;
  /** Called in the order of the API server, after the picture has changed. */
  readonly onChange: (change: Change<T>) => void;
  readonly log: Log;
  readonly clock: Clock;
}

/** The API server ends a watch after that, quiet or not; varied, so that not all begin anew at once. */
const minWatchSecs = 60;
const maxWatchSecs = 90;
/** Silence for longer than the watch may last: the connection is dead. */
const watchIdleMs = (maxWatchSecs + 10) * 1_000;
const shortWatchMs = 1_000;
const pageSize = 500;
/** Objects are at most 1.5 MiB in etcd; JSON of a Secret may be longer than that. */
const maxLineBytes = 4 * 1024 * 1024;

type WatchLine<K> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: K }
  | {
      readonly type: 'ERROR';
      readonly object: { readonly code?: number; readonly reason?: string; readonly message?: string };
    };

export function startInformer<K extends KubeObject, T>(deps: InformerDeps<K, T>): Informer<T> {
  const { api, path, labelSelector, keep, onChange, log, clock } = deps;
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
      const found: KubeList<K> = await api.request<KubeList<K>>({
        method: 'GET',
        path,
        query: { labelSelector, limit: pageSize, continue: page },
        signal: stop.signal,
      });
      for (const object of found.items) {
        missing.delete(object.metadata.name);
        set(object.metadata.name, keep(object));
      }
      page = found.metadata.continue;
      if (page === undefined || page === '') {
        for (const name of missing) drop(name);
        return found.metadata.resourceVersion;
      }
    }
  }

  /** One watch: until the server ends it. */
  async function watch(from: string): Promise<void> {
    const lines = api.lines({
      method: 'GET',
      path,
      query: {
        labelSelector,
        watch: true,
        resourceVersion: from,
        allowWatchBookmarks: true,
        timeoutSeconds: Math.round(minWatchSecs + Math.random() * (maxWatchSecs - minWatchSecs)),
      },
      signal: stop.signal,
      idleMs: watchIdleMs,
      maxLineBytes,
    });
    for await (const line of lines) {
      const event = JSON.parse(line) as WatchLine<K>;
      if (event.type === 'ERROR') {
        throw new KubeApiError(
          event.object.code ?? 500,
          event.object.reason ?? '',
          event.object.message ?? 'watch error',
        );
      }
      resourceVersion = event.object.metadata.resourceVersion ?? resourceVersion;
      pause.reset();
      const { name } = event.object.metadata;
      switch (event.type) {
        case 'ADDED':
        case 'MODIFIED':
          set(name, keep(event.object));
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
        // A server that ends each watch at once must not be asked in a tight loop.
        if (clock.nowMs() - beganMs < shortWatchMs) await sleep(clock, pause.next(), stop.signal);
      } catch (error) {
        if (stop.signal.aborted) return;
        // 410 Gone: the server no longer knows what came after our version.
        if (isStatus(error, 410)) resourceVersion = undefined;
        else log.warn({ err: toAppError(error), path }, 'watch broken');
        await sleep(clock, pause.next(), stop.signal);
      }
    }
  }

  const running = run();
  return {
    get: (name) => items.get(name),
    list: () => items.values(),
    async synced(signal) {
      await until(first.promise, AbortSignal.any([signal, stop.signal]));
    },
    async close() {
      stop.abort();
      await running;
    },
  };
}
