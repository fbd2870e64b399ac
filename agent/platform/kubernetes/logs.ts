/** Log lines of an app's pods: of those that are there and, when followed, of those that come and of restarts. */
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
import { containerName } from './manifests/manifests.ts';
import type { Picture } from './picture/picture.ts';

interface LogsDeps {
  readonly api: Pick<KubeApi, 'log'>;
  readonly namespace: string;
  readonly picture: Pick<Picture, 'podsOf' | 'onChange' | 'synced'>;
  /** Of the whole platform: its streams at a time. */
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

/** Lines that are read and not yet taken; a reader that is slower makes the pods' streams wait. */
const maxQueuedLines = 1_000;
const maxLineBytes = 16 * 1024;
/** Streams of one query: an app with more pods, or than are free, shows the first of them. */
const maxStreams = 32;
const maxStreamsInAll = 64;
const retryMs = 1_000;

/** The streams that the platform may have open at a time. */
export function createLogSlots(): Semaphore {
  return new Semaphore({ places: maxStreamsInAll });
}

/** @throws AppError too_many_calls where no more logs can be read now. */
export async function* followLogs(deps: LogsDeps, query: LogsQuery, signal: AbortSignal): AsyncGenerator<LogLine> {
  // Held for as long as the query, pods or not: its first stream needs no other.
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
      // An instance is one run of the container: a restart writes a log of its own.
      const starts = pod.running ? pod.exits : pod.exits - 1;
      const instance = `${pod.uid}/${String(starts)}`;
      if (starts < 0 || seen.has(instance) || readers.size >= maxStreams) continue;
      const slot = readers.size > 0 ? logSlots.tryAcquire() : undefined;
      if (readers.size > 0 && slot === undefined) continue;
      seen.add(instance);
      // What came before the query is cut to its tail; what comes while it is followed is wanted whole.
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

/** Reads one run of a container to its end. Never throws: a pod whose log cannot be read does not end the others. */
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
      // Once begun it is not begun again: its lines would come twice.
      if (lines > 0) return;
      await sleep(clock, retryMs, signal);
    }
  }
}
