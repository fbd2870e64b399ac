/** Waits for the verdict on a build, following its Job, its pod and its output. */
import type { Clock } from '../../../shared/wait/clock.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import { watchUntil } from '../../../shared/wait/watch-until.ts';
import type { JobFacts } from './build-facts.ts';
import type { BuildJobs } from './build-jobs.ts';
import type { BuildOutput } from './build-output.ts';
import type { BuildPicture } from './build-picture.ts';
import type { SymptomTimes } from '../../kube/symptoms.ts';
import { judgeBuild, type BuildVerdict } from './build-verdict.ts';
import type { BuildConfig } from './job.ts';

export type DecidedBuild = Exclude<BuildVerdict, { readonly kind: 'waiting' }>;

/** Time after the Job's own deadline, for a cluster that does not enforce it. */
const deadlineGraceMs = 60_000;
/** The pod is usually there within a tenth of this time. */
const lookMs = 1_500;

export async function watchBuild(deps: {
  readonly job: JobFacts;
  readonly picture: BuildPicture;
  readonly output: Pick<BuildOutput, 'follow'>;
  readonly jobs: Pick<BuildJobs, 'podRefusal'>;
  readonly config: Pick<BuildConfig, 'builder'>;
  readonly onPhase: (message: string) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<DecidedBuild> {
  const { job, picture, output, jobs, config, onPhase, clock, signal } = deps;
  const limitSecs = config.builder.timeout_secs;
  const deadlineMs = clock.nowMs() + limitSecs * 1_000 + deadlineGraceMs;
  const refusal = watchPodRefusal({ jobs, jobUid: job.uid, hasPod: () => picture.pod(job.uid) !== undefined, clock });
  let since: SymptomTimes = new Map();
  let phase = '';
  let hadPod = false;

  function look(): { readonly done: DecidedBuild } | { readonly againMs: number } {
    const nowMs = clock.nowMs();
    const current = picture.job();
    const pod = picture.pod(job.uid);
    hadPod ||= pod !== undefined;
    if (pod !== undefined) output.follow(pod);
    const seen = {
      job: current?.uid === job.uid ? current : undefined,
      pod,
      hadPod,
      podRefused: refusal.message(),
    };
    const judged = judgeBuild(seen, config, since, nowMs);
    ({ since } = judged);
    const { verdict } = judged;
    if (verdict.kind !== 'waiting') return { done: verdict };
    if (nowMs >= deadlineMs) {
      const message = `the build did not end within ${String(limitSecs)} s, and the cluster did not end it`;
      return { done: { kind: 'failed', code: 'build_timeout', phase: 'build', message } };
    }
    if (verdict.message !== phase) {
      phase = verdict.message;
      onPhase(phase);
    }
    return { againMs: Math.min(verdict.againMs, deadlineMs - nowMs) };
  }

  try {
    return await watchUntil({
      look,
      subscribe(listener) {
        const unsubscribe = [picture.onChange(listener), refusal.onChange(listener)];
        return () => {
          for (const end of unsubscribe) end();
        };
      },
      clock,
      signal,
    });
  } finally {
    await refusal.close();
  }
}

/** Finds out why a Job has no pod, while it has none: not its status but its events say so. */
function watchPodRefusal(deps: {
  readonly jobs: Pick<BuildJobs, 'podRefusal'>;
  readonly jobUid: string;
  readonly hasPod: () => boolean;
  readonly clock: Clock;
}) {
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
    onChange(listener: () => void): () => void {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async close(): Promise<void> {
      stop.abort();
      await looking;
    },
  };
}
