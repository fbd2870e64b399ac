/** The log lines of an app's pods. When followed, pods that appear later and restarted containers are included. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { LogLine } from '../../../shared/protocol/views.ts';
import { onAbort } from '../../../shared/wait/abort.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { Semaphore } from '../../../shared/wait/semaphore.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import type { KubeApi } from '../../kube/api.ts';
import type { PodFacts } from './picture/facts.ts';
import { createLineQueue, type LineQueue } from './line-queue.ts';
import { containerName } from './manifests/container.ts';
import type { Picture } from './picture/picture.ts';

interface LogsDeps {
  readonly api: Pick<KubeApi, 'log'>;
  readonly namespace: string;
  readonly picture: Pick<Picture, 'podsOf' | 'onChange' | 'synced'>;
  /** The streams that the whole platform may have open at a time. */
  readonly logSlots: Semaphore;
  readonly log: Log;
  readonly clock: Clock;
}

interface LogsQuery {
  readonly app: string;
  readonly version?: number | undefined;
  readonly tail: number;
  readonly follow: boolean;
}

/** Lines that are read ahead: a slower reader pauses the streams of the pods. */
const maxQueuedLines = 1_000;
const maxLineBytes = 16 * 1024;
/** Streams of one query. Of an app with more pods the first ones are shown. */
const maxStreams = 32;
const maxStreamsInAll = 64;
const retryMs = 1_000;

/** One place for each stream that the platform may have open. */
export function createLogSlots(): Semaphore {
  return new Semaphore({ places: maxStreamsInAll });
}

/** @throws AppError too_many_calls when too many logs are being read. */
export async function* followLogs(deps: LogsDeps, query: LogsQuery, signal: AbortSignal): AsyncGenerator<LogLine> {
  // Held as long as the query, with or without pods: its first stream uses it.
  using slot = deps.logSlots.tryAcquire();
  if (slot === undefined) {
    throw new AppError('too_many_calls', `the logs of ${String(maxStreamsInAll)} pods are being read: try again later`);
  }
  yield* readLogs(deps, query, signal);
}

async function* readLogs(deps: LogsDeps, query: LogsQuery, signal: AbortSignal): AsyncGenerator<LogLine> {
  const { picture, logSlots } = deps;
  await picture.synced(signal);
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  const queue = createLineQueue<LogLine>({ limit: maxQueuedLines });
  const readers = new Map<string, Promise<void>>();
  const seen = new Set<string>();
  let first = true;

  function readNew(): void {
    for (const pod of picture.podsOf(query.app, query.version)) {
      // An instance is one run of the container: each run has a log of its own.
      const starts = pod.running ? pod.exits : pod.exits - 1;
      const instance = `${pod.uid}/${String(starts)}`;
      if (starts < 0 || seen.has(instance) || readers.size >= maxStreams) continue;
      const slot = readers.size > 0 ? logSlots.tryAcquire() : undefined;
      if (readers.size > 0 && slot === undefined) continue;
      seen.add(instance);
      // Only the logs from before the query are cut to `tail`.
      const reading = readPod(deps, { pod, query, tail: first ? query.tail : undefined }, queue, ended).finally(() => {
        readers.delete(instance);
        slot?.[Symbol.dispose]();
        if (readers.size === 0 && !query.follow) queue.end();
      });
      readers.set(instance, reading);
    }
    first = false;
  }

  const unsubscribe = query.follow ? picture.onChange(readNew) : () => undefined;
  using _listener = onAbort(signal, () => queue.end());
  try {
    readNew();
    if (signal.aborted || (readers.size === 0 && !query.follow)) return;
    yield* queue.lines();
  } finally {
    unsubscribe();
    stop.abort();
    queue.end();
    await Promise.all(readers.values());
  }
}

interface PodLog {
  readonly pod: PodFacts;
  readonly query: LogsQuery;
  readonly tail: number | undefined;
}

/** Reads the log of one run of a container to its end. Never throws: an unreadable log does not end the others. */
async function readPod(
  { api, namespace, log, clock }: LogsDeps,
  { pod, query, tail }: PodLog,
  queue: LineQueue<LogLine>,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; attempt <= 2 && !signal.aborted; attempt += 1) {
    let lines = 0;
    try {
      const stream = api.log(
        { namespace, name: pod.name },
        { container: containerName, follow: query.follow, tailLines: tail },
        { signal, maxLineBytes },
      );
      for await (const line of stream) {
        lines += 1;
        await queue.push({ instance: pod.name, version: pod.version, line });
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      log.debug({ err: toAppError(error), pod: pod.name }, 'log stream broken');
      // Starting again would repeat the lines that were read.
      if (lines > 0) return;
      await sleep(clock, retryMs, signal);
    }
  }
}
