/** The facts about a build's Job and pod that are kept while they are watched: all that a verdict needs. */
import type { Kinds } from '../../kube/kinds.ts';
import { buildAnnotations } from './build-names.ts';
import { containers } from './job.ts';

export interface JobFacts {
  readonly name: string;
  readonly uid: string;
  readonly tag: string | undefined;
  readonly image: string | undefined;
  readonly secretName: string | undefined;
  readonly tokenHash: string | undefined;
  readonly deleting: boolean;
  readonly state: 'running' | 'complete' | 'failed';
  /** Why the Job failed, as in `DeadlineExceeded`. */
  readonly reason: string;
  readonly message: string;
}

export interface ContainerFacts {
  readonly waiting: { readonly reason: string; readonly message: string } | undefined;
  readonly running: boolean;
  readonly ended: { readonly exitCode: number; readonly reason: string; readonly message: string } | undefined;
}

export interface BuildPodFacts {
  readonly name: string;
  readonly uid: string;
  /** The UID of its Job. */
  readonly jobUid: string | undefined;
  readonly deleting: boolean;
  /** Why the cluster removes the pod, if it does. */
  readonly disruption: string | undefined;
  /** The pod as a whole failed: it was evicted, or its node refused it. */
  readonly failed: { readonly reason: string; readonly message: string } | undefined;
  readonly unschedulable: string | undefined;
  readonly scheduled: boolean;
  readonly fetch: ContainerFacts;
  readonly build: ContainerFacts;
}

export function jobFacts({ metadata = {}, status }: Kinds['Job']): JobFacts {
  const { annotations = {} } = metadata;
  const holds = (...types: readonly string[]) =>
    status?.conditions?.find(({ type, status: value }) => types.includes(type) && value === 'True');
  // FailureTarget comes before the pods are removed, Failed when they are gone.
  const failed = holds('Failed', 'FailureTarget');
  return {
    name: metadata.name ?? '',
    uid: metadata.uid ?? '',
    tag: annotations[buildAnnotations.tag],
    image: annotations[buildAnnotations.image],
    secretName: annotations[buildAnnotations.secret],
    tokenHash: annotations[buildAnnotations.tokenHash],
    deleting: metadata.deletionTimestamp !== undefined,
    state:
      failed !== undefined ? 'failed' : holds('Complete', 'SuccessCriteriaMet') !== undefined ? 'complete' : 'running',
    reason: failed?.reason ?? '',
    message: failed?.message ?? '',
  };
}

export function buildPodFacts({ metadata = {}, status }: Kinds['Pod']): BuildPodFacts {
  const condition = (type: string) => status?.conditions?.find((entry) => entry.type === type);
  const placed = condition('PodScheduled');
  const disruption = condition('DisruptionTarget');
  return {
    name: metadata.name ?? '',
    uid: metadata.uid ?? metadata.name ?? '',
    jobUid: metadata.ownerReferences?.find(({ kind }) => kind === 'Job')?.uid,
    deleting: metadata.deletionTimestamp !== undefined,
    disruption: disruption?.status === 'True' ? (disruption.message ?? disruption.reason ?? '') : undefined,
    failed: status?.phase === 'Failed' ? { reason: status.reason ?? '', message: status.message ?? '' } : undefined,
    unschedulable:
      placed?.status === 'False' && placed.reason === 'Unschedulable' ? (placed.message ?? placed.reason) : undefined,
    scheduled: placed?.status === 'True',
    fetch: containerFacts(status?.initContainerStatuses, containers.fetch),
    build: containerFacts(status?.containerStatuses, containers.build),
  };
}

function containerFacts(
  statuses: NonNullable<Kinds['Pod']['status']>['containerStatuses'],
  name: string,
): ContainerFacts {
  const state = statuses?.find((entry) => entry.name === name)?.state;
  const { waiting, terminated } = state ?? {};
  return {
    waiting: waiting === undefined ? undefined : { reason: waiting.reason ?? '', message: waiting.message ?? '' },
    running: state?.running !== undefined,
    ended:
      terminated === undefined
        ? undefined
        : { exitCode: terminated.exitCode, reason: terminated.reason ?? '', message: terminated.message ?? '' },
  };
}
