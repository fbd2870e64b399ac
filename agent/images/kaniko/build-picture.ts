/** Watches the Job and the pods of one build while it is waited for. */
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Log } from '../../../shared/log.ts';
import type { KubeApi } from '../../kube/api.ts';
import { startInformer } from '../../kube/informer.ts';
import { buildPodFacts, jobFacts, type BuildPodFacts, type JobFacts } from './build-facts.ts';

export interface BuildPicture {
  job(): JobFacts | undefined;
  /** The newest pod of the Job. */
  pod(jobUid: string): BuildPodFacts | undefined;
  onChange(listener: () => void): () => void;
  synced(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export function startBuildPicture(deps: {
  readonly api: Pick<KubeApi, 'list' | 'watch'>;
  readonly namespace: string;
  readonly jobName: string;
  readonly labelSelector: string;
  readonly log: Log;
  readonly clock: Clock;
}): BuildPicture {
  const { jobName, ...shared } = deps;
  const listeners = new Set<() => void>();
  const onChange = (): void => {
    for (const listener of listeners) listener();
  };
  const jobs = startInformer({ ...shared, kind: 'Job', keep: jobFacts, onChange });
  const pods = startInformer({ ...shared, kind: 'Pod', keep: buildPodFacts, onChange });
  return {
    job: () => jobs.get(jobName),
    pod: (jobUid) => [...pods.list()].findLast((pod) => pod.jobUid === jobUid),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async synced(signal) {
      await Promise.all([jobs.synced(signal), pods.synced(signal)]);
    },
    async close() {
      await Promise.all([jobs.close(), pods.close()]);
    },
  };
}
