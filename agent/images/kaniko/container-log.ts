/** The log of one container, line by line as it is written; a stream that breaks is taken up where it was. */
import type { Clock } from '../../../shared/wait/clock.ts';
import { toAppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import type { KubeApi } from '../../kube/api.ts';

export interface ContainerLog {
  /** The container has ended: reads what is left and ends. Never throws: a log that cannot be read is not why a build fails. */
  finish(): Promise<void>;
  /** Ends at once, `finish` too. */
  close(): Promise<void>;
}

/** With the time before it; what is longer is cut. */
const maxLineBytes = 64 * 1024;
const retryMs = 1_000;
const finishMs = 5_000;
/** Silence after which the stream is asked for again: the connection may be dead, or the container quiet. */
const idleMs = 120_000;

/** Starts following at once. */
export function followContainerLog(deps: {
  readonly api: Pick<KubeApi, 'log'>;
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly onLine: (line: string) => void;
  readonly log: Log;
  readonly clock: Clock;
}): ContainerLog {
  const { api, namespace, pod, container, onLine, log, clock } = deps;
  const stop = new AbortController();
  const ended = new AbortController();
  const whileRunning = AbortSignal.any([stop.signal, ended.signal]);
  /** The time of the last line, and how many lines have come with that very time. */
  let last = { time: '', lines: 0 };

  async function read(follow: boolean, signal: AbortSignal): Promise<void> {
    const from = last;
    // The API takes whole seconds: what came before in that second comes again, and is left out.
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
        if (!whileRunning.aborted) log.debug({ err: toAppError(error), pod, container }, 'log stream broken');
      }
      // The stream of a container that has ended ends too: whoever watches the pod calls `finish` then.
      await sleep(clock, retryMs, whileRunning);
    }
  }

  const following = follow();
  return {
    async close() {
      stop.abort();
      await following;
    },
    async finish() {
      // A stream learns of the end up to a second late; a plain read has everything now.
      ended.abort();
      await following;
      try {
        await read(false, AbortSignal.any([stop.signal, AbortSignal.timeout(finishMs)]));
      } catch (error) {
        log.debug({ err: toAppError(error), pod, container }, 'the end of a log could not be read');
      }
    },
  };
}

/** `2026-11-22T23:03:51.12Z text`. Times are made equally long, so that they compare as text. */
function split(text: string): { readonly time: string; readonly line: string } {
  const parts = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z (.*)$/s.exec(text);
  if (parts === null) return { time: '', line: text };
  return { time: `${parts[1] ?? ''}.${(parts[2] ?? '').padEnd(9, '0')}Z`, line: parts[3] ?? '' };
}
