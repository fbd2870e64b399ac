/** Waits until a build is decided, following its Job, its pod and its log. */
import type { Clock } from '../../../shared/wait/clock.ts';
import { watchUntil } from '../../../shared/wait/watch-until.ts';
import type { JobFacts } from './build-facts.ts';
import type { BuildJobs } from './build-jobs.ts';
import type { BuildLog } from './build-log.ts';
import type { BuildPicture } from './build-picture.ts';
import type { SymptomTimes } from '../../platform/kubernetes/rollout/symptoms.ts';
import { judgeBuild, type BuildVerdict } from './build-verdict.ts';
import type { BuildConfig } from './job.ts';
import { watchPodRefusal } from './pod-refusal.ts';

export type DecidedBuild = Exclude<BuildVerdict, { readonly kind: 'waiting' }>;

/** Behind the deadline of the Job itself, for a cluster that does not hold to it. */
const deadlineGraceMs = 60_000;

export async function watchBuild(deps: {
  readonly job: JobFacts;
  readonly picture: BuildPicture;
  readonly buildLog: Pick<BuildLog, 'follow'>;
  readonly jobs: Pick<BuildJobs, 'podRefusal'>;
  readonly config: Pick<BuildConfig, 'builder'>;
  readonly onPhase: (message: string) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<DecidedBuild> {
  const { job, picture, buildLog, jobs, config, onPhase, clock, signal } = deps;
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
    if (pod !== undefined) buildLog.follow(pod);
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
