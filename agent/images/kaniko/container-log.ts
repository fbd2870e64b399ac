/** Follows the log of one container, line by line. A stream that breaks is resumed where it was. */
import type { Clock } from '../../../shared/wait/clock.ts';
import { toAppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import type { KubeApi } from '../../kube/api.ts';

/** Bound of a line with its timestamp; the rest of a longer one is cut off. */
const maxLineBytes = 64 * 1024;
const retryMs = 1_000;
const finishMs = 5_000;
/** A stream that is silent for this long is requested again: the connection may be dead, or the container quiet. */
const idleMs = 120_000;

/** Starts following the log at once. */
export function followContainerLog(deps: {
  readonly api: Pick<KubeApi, 'log'>;
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly onLine: (line: string) => void;
  readonly log: Log;
  readonly clock: Clock;
}) {
  const { api, namespace, pod, container, onLine, log, clock } = deps;
  const stop = new AbortController();
  const ended = new AbortController();
  const whileRunning = AbortSignal.any([stop.signal, ended.signal]);
  const seen = new SeenLines();

  async function read(follow: boolean, signal: AbortSignal): Promise<void> {
    const { sinceTime, isRepeated } = seen.resume();
    const query = { container, follow, timestamps: true, sinceTime };
    const stream = api.log({ namespace, name: pod }, query, { signal, idleMs, maxLineBytes });
    for await (const text of stream) {
      const { time, line } = split(text);
      if (isRepeated(time)) continue;
      seen.add(time);
      onLine(line);
    }
  }

  async function follow(): Promise<void> {
    while (!whileRunning.aborted) {
      try {
        await read(true, whileRunning);
      } catch (error) {
        if (!whileRunning.aborted) log.debug({ err: toAppError(error), pod, container }, 'log stream broke off');
      }
      // It also ends when the container ends. Then the watcher of the pod calls `finish`.
      await sleep(clock, retryMs, whileRunning);
    }
  }

  const following = follow();
  return {
    /** Stops reading at once, also in `finish`. */
    async close(): Promise<void> {
      stop.abort();
      await following;
    },
    /** To be called when the container has ended: reads the rest. It never throws, because an unreadable log must not fail a build. */
    async finish(): Promise<void> {
      // A stream may end a second late; a plain read has all lines now.
      ended.abort();
      await following;
      try {
        await read(false, AbortSignal.any([stop.signal, AbortSignal.timeout(finishMs)]));
      } catch (error) {
        log.debug({ err: toAppError(error), pod, container }, 'could not read the end of a log');
      }
    },
  };
}

/**
 * The lines that were read, so that a stream can be resumed. Timestamps are not in order: those of standard output and standard error are
 * taken apart from each other. The API takes whole seconds, so it repeats lines.
 */
class SeenLines {
  /** The number of lines by timestamp, of the last second and the one before. */
  readonly #counts = new Map<string, number>();
  #newest = '';

  add(time: string): void {
    if (time === '') return;
    if (secondOf(time) > secondOf(this.#newest)) {
      const oldest = secondBefore(time);
      for (const key of this.#counts.keys()) if (key < oldest) this.#counts.delete(key);
    }
    if (time > this.#newest) this.#newest = time;
    this.#counts.set(time, (this.#counts.get(time) ?? 0) + 1);
  }

  /** @returns from when to read on, and which of the lines that come then were read before. */
  resume(): { readonly sinceTime: string | undefined; readonly isRepeated: (time: string) => boolean } {
    if (this.#newest === '') return { sinceTime: undefined, isRepeated: () => false };
    const since = secondBefore(this.#newest);
    const left = new Map(this.#counts);
    const isRepeated = (time: string): boolean => {
      if (time !== '' && time < since) return true;
      const count = left.get(time) ?? 0;
      left.set(time, count - 1);
      return count > 0;
    };
    return { sinceTime: `${since}Z`, isRepeated };
  }
}

function secondOf(time: string): string {
  return time.slice(0, 19);
}

/** The second before that of the timestamp. */
function secondBefore(time: string): string {
  return secondOf(new Date(Date.parse(`${secondOf(time)}Z`) - 1_000).toISOString());
}

export type ContainerLog = ReturnType<typeof followContainerLog>;

/** Splits `2026-11-22T23:03:51.12Z text`. Timestamps get equal lengths, so that they can be compared as text. */
function split(text: string): { readonly time: string; readonly line: string } {
  const parts = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z (.*)$/s.exec(text);
  if (parts === null) return { time: '', line: text };
  return { time: `${parts[1] ?? ''}.${(parts[2] ?? '').padEnd(9, '0')}Z`, line: parts[3] ?? '' };
}
