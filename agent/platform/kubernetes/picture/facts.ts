/** What is kept in memory of each watched object: flat, small, and enough to judge and repair. */
import { createHash } from 'node:crypto';
import type { Kinds, KubeObject } from '../../../kube/kinds.ts';
import { labels } from '../../../kube/labels.ts';
import type { ReadinessProbe } from '../../readiness.ts';
import { containerName } from '../manifests/container.ts';
import { contentAnnotation, revisionAnnotation } from '../manifests/manifests.ts';
import { probeOfPod } from '../manifests/probe-note.ts';

export interface PodFacts {
  readonly name: string;
  readonly uid: string;
  readonly app: string;
  readonly version: number;
  readonly ip: string | undefined;
  readonly port: number;
  /** What the agent probes of it. */
  readonly probe: ReadinessProbe;
  /** It is being deleted, or has ended for good (evicted, rejected by the node): another pod replaces it. */
  readonly leaving: boolean;
  readonly ready: boolean;
  readonly unschedulable: string | undefined;
  /** The node that is being cleared or made for it. */
  readonly nominatedNode: string | undefined;
  readonly scheduled: boolean;
  readonly running: boolean;
  readonly waiting: { readonly reason: string; readonly message: string } | undefined;
  /** How often the container has ended. */
  readonly exits: number;
  readonly lastExit: ExitFacts | undefined;
}

export interface ExitFacts {
  readonly exitCode: number;
  readonly signal: number | undefined;
  readonly reason: string;
  readonly message: string;
}

/** @returns undefined for a pod that belongs to no version, whatever its labels say. */
export function podFacts({ metadata = {}, spec, status }: Kinds['Pod']): PodFacts | undefined {
  const app = metadata.labels?.[labels.app];
  const version = Number(metadata.labels?.[labels.version]);
  const container = spec?.containers.find((entry) => entry.name === containerName);
  const port = container?.ports?.[0]?.containerPort;
  if (app === undefined || !Number.isSafeInteger(version) || port === undefined) return undefined;
  const condition = (type: string) => status?.conditions?.find((entry) => entry.type === type);
  const own = status?.containerStatuses?.find((entry) => entry.name === containerName);
  const ended = own?.state?.terminated ?? own?.lastState?.terminated;
  const running = own?.state?.running !== undefined;
  const placed = condition('PodScheduled');
  const waiting = own?.state?.waiting;
  return {
    name: metadata.name ?? '',
    uid: metadata.uid ?? metadata.name ?? '',
    app,
    version,
    ip: status?.podIP === '' ? undefined : status?.podIP,
    port,
    probe: probeOfPod(metadata.annotations, container?.readinessProbe?.httpGet?.path),
    leaving: metadata.deletionTimestamp !== undefined || status?.phase === 'Failed' || status?.phase === 'Succeeded',
    ready: condition('Ready')?.status === 'True',
    unschedulable:
      placed?.status === 'False' && placed.reason === 'Unschedulable' ? (placed.message ?? placed.reason) : undefined,
    nominatedNode: status?.nominatedNodeName === '' ? undefined : status?.nominatedNodeName,
    scheduled: placed?.status === 'True',
    running,
    waiting: waiting === undefined ? undefined : { reason: waiting.reason ?? '', message: waiting.message ?? '' },
    // A container that ended and does not run has ended once more than it was restarted.
    exits: (own?.restartCount ?? 0) + (!running && ended !== undefined ? 1 : 0),
    lastExit:
      ended === undefined
        ? undefined
        : {
            exitCode: ended.exitCode,
            signal: ended.signal,
            reason: ended.reason ?? '',
            message: ended.message ?? '',
          },
  };
}

/** Enough of an applied object to see that somebody changed it. */
export interface AppliedFacts {
  readonly name: string;
  readonly uid: string | undefined;
  readonly app: string | undefined;
  readonly version: number | undefined;
  /** Digest of everything that Holdfast decides, without replicas and what controllers write. */
  readonly fingerprint: string;
  readonly content: string | undefined;
  /** Deployments only: the form of the manifests that made it. */
  readonly revision: string | undefined;
  readonly deleting: boolean;
  /** Deployments only. */
  readonly replicas: number | undefined;
  readonly generation: number;
  readonly observedGeneration: number;
  /** Why pods could not be created, as for a quota or an admission webhook. */
  readonly replicaFailure: string | undefined;
}

export function appliedFacts(object: KubeObject): AppliedFacts {
  const { metadata = {} } = object;
  const version = Number(metadata.labels?.[labels.version]);
  const { status, spec } = object as Kinds['Deployment'];
  const failure = status?.conditions?.find((entry) => entry.type === 'ReplicaFailure' && entry.status === 'True');
  return {
    name: metadata.name ?? '',
    uid: metadata.uid,
    app: metadata.labels?.[labels.app],
    version: Number.isSafeInteger(version) ? version : undefined,
    fingerprint: fingerprintOf(object),
    content: metadata.annotations?.[contentAnnotation],
    revision: metadata.annotations?.[revisionAnnotation],
    deleting: metadata.deletionTimestamp !== undefined,
    replicas: spec?.replicas,
    generation: metadata.generation ?? 0,
    observedGeneration: status?.observedGeneration ?? 0,
    replicaFailure: failure === undefined ? undefined : (failure.message ?? failure.reason ?? 'pods cannot be created'),
  };
}

function fingerprintOf(object: KubeObject): string {
  const { spec, data } = object as { readonly spec?: Record<string, unknown>; readonly data?: unknown };
  const { replicas: _, ...rest } = spec ?? {};
  const decided = [object.metadata?.labels, object.metadata?.annotations?.[contentAnnotation], rest, data];
  return createHash('sha256').update(JSON.stringify(decided)).digest('base64');
}
