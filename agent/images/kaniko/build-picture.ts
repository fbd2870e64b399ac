/** Watches the Job and the pods of one build while it is waited for. */
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Log } from '../../../shared/log.ts';
import type { KubeApi } from '../../kube/api.ts';
import { startInformer } from '../../kube/informer.ts';
import { buildPodFacts, jobFacts } from './build-facts.ts';

export function startBuildPicture(deps: {
  readonly api: Pick<KubeApi, 'list' | 'watch'>;
  readonly namespace: string;
  readonly jobName: string;
  readonly labelSelector: string;
  readonly log: Log;
  readonly clock: Clock;
}) {
  const { jobName, ...shared } = deps;
  const listeners = new Set<() => void>();
  const onChange = (): void => {
    for (const listener of listeners) listener();
  };
  const jobs = startInformer({ ...shared, kind: 'Job', keep: jobFacts, onChange });
  const pods = startInformer({ ...shared, kind: 'Pod', keep: buildPodFacts, onChange });
  return {
    job: () => jobs.get(jobName),
    /** The newest pod of the Job. */
    pod: (jobUid: string) => [...pods.list()].findLast((pod) => pod.jobUid === jobUid),
    onChange(listener: () => void): () => void {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async synced(signal: AbortSignal): Promise<void> {
      await Promise.all([jobs.synced(signal), pods.synced(signal)]);
    },
    async close(): Promise<void> {
      await Promise.all([jobs.close(), pods.close()]);
    },
  };
}

export type BuildPicture = ReturnType<typeof startBuildPicture>;
