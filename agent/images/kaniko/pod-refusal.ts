/** Why a Job has no pod: its status does not say, its events do. Looked at for as long as there is none. */
import type { Clock } from '../../../shared/wait/clock.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import type { BuildJobs } from './build-jobs.ts';

export interface PodRefusal {
  message(): string | undefined;
  onChange(listener: () => void): () => void;
  close(): Promise<void>;
}

/** A pod is usually there within a tenth of that. */
const lookMs = 1_500;

export function watchPodRefusal(deps: {
  readonly jobs: Pick<BuildJobs, 'podRefusal'>;
  readonly jobUid: string;
  readonly hasPod: () => boolean;
  readonly clock: Clock;
}): PodRefusal {
  const { jobs, jobUid, hasPod, clock } = deps;
  const stop = new AbortController();
  const listeners = new Set<() => void>();
  let message: string | undefined;

  async function look(): Promise<void> {
    while (!stop.signal.aborted) {
      await sleep(clock, lookMs, stop.signal);
      if (stop.signal.aborted || hasPod()) return;
      message = await jobs.podRefusal(jobUid, stop.signal);
      for (const listener of listeners) listener();
    }
  }

  const looking = look();
  return {
    message: () => message,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async close() {
      stop.abort();
      await looking;
    },
  };
}
