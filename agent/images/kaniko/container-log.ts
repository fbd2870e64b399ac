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
  /** The timestamp of the last line, and the number of lines that had it. */
  let last = { time: '', lines: 0 };

  async function read(follow: boolean, signal: AbortSignal): Promise<void> {
    const from = last;
    // The API takes whole seconds, so it repeats earlier lines of that second, which are skipped.
    let skip = from.lines;
    const sinceTime = from.time === '' ? undefined : `${from.time.slice(0, 19)}Z`;
    const query = { container, follow, timestamps: true, sinceTime };
    const stream = api.log({ namespace, name: pod }, query, { signal, idleMs, maxLineBytes });
    for await (const text of stream) {
      const { time, line } = split(text);
      if (time !== '' && from.time !== '') {
        if (time < from.time) continue;
        if (time === from.time && skip > 0) {
          skip -= 1;
          continue;
        }
      }
      last = time === last.time ? { time, lines: last.lines + 1 } : { time, lines: 1 };
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

export type ContainerLog = ReturnType<typeof followContainerLog>;

/** Splits `2026-11-22T23:03:51.12Z text`. Timestamps get equal lengths, so that they can be compared as text. */
function split(text: string): { readonly time: string; readonly line: string } {
  const parts = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z (.*)$/s.exec(text);
  if (parts === null) return { time: '', line: text };
  return { time: `${parts[1] ?? ''}.${(parts[2] ?? '').padEnd(9, '0')}Z`, line: parts[3] ?? '' };
}
