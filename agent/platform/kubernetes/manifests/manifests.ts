/** The objects that make up a version in Kubernetes: pure functions from the declared app to manifests. */
import { createHash } from 'node:crypto';
import type { V1PodSecurityContext } from '@kubernetes/client-node';
import type { VersionRun } from '../../platform.ts';
import { typeOf, type Kinds, type ObjectMeta } from '../../../kube/kinds.ts';
import { labels } from '../../../kube/labels.ts';
import { readinessOf } from '../../readiness.ts';
import { containerOf, isAutoscaled, replicasOf } from './container.ts';
import { appObjectName, claimName, labelsOf, versionObjectName } from './names.ts';
import { probeAnnotation, probeNote } from './probe-note.ts';

export type ManifestKind =
  'ConfigMap' | 'Secret' | 'PersistentVolumeClaim' | 'Deployment' | 'HorizontalPodAutoscaler' | 'Service';

type ManifestOf<K extends ManifestKind> = Kinds[K] & {
  readonly kind: K;
  readonly metadata: ObjectMeta & { readonly name: string };
};
/** An object as it is applied, still without its namespace. */
export type Manifest<K extends ManifestKind = ManifestKind> = { readonly [P in K]: ManifestOf<P> }[K];

export interface VersionObjects {
  /** What the pods need before they start: ConfigMap, Secret, claims. */
  readonly inputs: readonly Manifest[];
  /** Without `replicas`: that field belongs to start, stop and the autoscaler, never to server-side apply. */
  readonly deployment: Manifest<'Deployment'>;
  readonly autoscaler: Manifest<'HorizontalPodAutoscaler'> | undefined;
}

export interface ObjectsOptions {
  /** Repository of the images built from sources: `host[:port]/project/app`. */
  readonly builtRepository: string;
  readonly imagePullSecrets: readonly string[];
}

/** Annotation of the Deployment: digest of everything that is applied for the version, except the values of secrets. */
export const contentAnnotation = 'holdfast.dev/content';
/** Annotation of the Deployment: the form of the manifests, so that a version that another release has made is known as such. */
export const revisionAnnotation = 'holdfast.dev/revision';
/** Raise it with every change of what is applied for an unchanged version. */
export const manifestRevision = '2';
const terminationGraceSecs = 30;
/** The group of the user as whom the images of presets run. */
const presetGroup = 1_000;

/** Whether the number of replicas is one to keep: an autoscaler may choose any except zero, at which it does nothing. */
export function hasRightReplicas(run: Pick<VersionRun, 'spec'>, replicas: number): boolean {
  return isAutoscaled(run) ? replicas > 0 : replicas === replicasOf(run);
}

/** An autoscaled version starts with as many pods as the version that it replaces has under the current load. */
export function replicasAtStart(run: Pick<VersionRun, 'spec'>, ofOthers: number): number {
  const least = replicasOf(run);
  return isAutoscaled(run) ? Math.max(least, Math.min(ofOthers, run.spec.max_replicas ?? least)) : least;
}

/** An app with volumes has one Deployment for all its versions: two pods cannot both have a ReadWriteOnce claim. */
export function deploymentName(run: Pick<VersionRun, 'app' | 'version' | 'spec'>): string {
  return run.spec.volumes.length > 0 ? appObjectName(run.app) : versionObjectName(run.app, run.version);
}

export function versionObjects(run: VersionRun, options: ObjectsOptions): VersionObjects {
  const name = versionObjectName(run.app, run.version);
  const { spec } = run;
  const own = labelsOf(run.app, run.version);
  const inputs: Manifest[] = [];
  if (Object.keys(spec.env).length > 0) {
    inputs.push({
      ...typeOf('ConfigMap'),
      metadata: { name, labels: own },
      data: spec.env,
    });
  }
  if (Object.keys(spec.secrets).length > 0) {
    inputs.push({
      ...typeOf('Secret'),
      metadata: { name, labels: own },
      type: 'Opaque',
      data: base64Values(spec.secrets),
    });
  }
  for (const volume of spec.volumes) {
    inputs.push({
      ...typeOf('PersistentVolumeClaim'),
      metadata: { name: claimName(run.app, volume.name), labels: labelsOf(run.app) },
      spec: {
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: volume.size ?? run.config.kubernetes.default_volume_size } },
      },
    });
  }
  const autoscaler = isAutoscaled(run) ? autoscalerOf(run) : undefined;
  const bare = deploymentOf(run, options);
  const content = contentOf(run, [...inputs, bare, ...(autoscaler === undefined ? [] : [autoscaler])]);
  const deployment = {
    ...bare,
    metadata: {
      ...bare.metadata,
      annotations: { [contentAnnotation]: content, [revisionAnnotation]: manifestRevision },
    },
  };
  return { inputs, deployment, autoscaler };
}

export function serviceOf(run: VersionRun): Manifest<'Service'> {
  return {
    ...typeOf('Service'),
    metadata: { name: appObjectName(run.app), labels: labelsOf(run.app, run.version) },
    spec: {
      type: 'ClusterIP',
      selector: { [labels.app]: run.app, [labels.version]: String(run.version) },
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: run.spec.port }],
    },
  };
}

function deploymentOf(run: VersionRun, options: ObjectsOptions): Manifest<'Deployment'> {
  const name = deploymentName(run);
  const { spec } = run;
  const selector = { [labels.app]: run.app, [labels.workload]: name };
  const stateful = spec.volumes.length > 0;
  return {
    ...typeOf('Deployment'),
    metadata: { name, labels: labelsOf(run.app, run.version) },
    spec: {
      revisionHistoryLimit: 0,
      selector: { matchLabels: selector },
      strategy: stateful
        ? { type: 'Recreate' }
        : { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        metadata: {
          labels: { ...labelsOf(run.app, run.version), ...selector },
          annotations: { [probeAnnotation]: probeNote(readinessOf(spec)) },
        },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: terminationGraceSecs,
          securityContext: securityContextOf(run),
          ...(options.imagePullSecrets.length === 0
            ? {}
            : { imagePullSecrets: options.imagePullSecrets.map((secret) => ({ name: secret })) }),
          containers: [containerOf(run, options)],
          ...(stateful
            ? {
                volumes: spec.volumes.map((volume) => ({
                  name: volume.name,
                  persistentVolumeClaim: { claimName: claimName(run.app, volume.name) },
                })),
              }
            : {}),
        },
      },
    },
  };
}

function securityContextOf({ spec, config }: VersionRun): V1PodSecurityContext {
  const { run_as_non_root: nonRoot, fs_group: fsGroup = spec.source === undefined ? 0 : presetGroup } =
    config.kubernetes;
  return {
    seccompProfile: { type: 'RuntimeDefault' },
    ...(nonRoot ? { runAsNonRoot: true } : {}),
    // A fresh volume on block storage belongs to root. A large one is not walked through at each start.
    ...(spec.volumes.length > 0 && fsGroup > 0 ? { fsGroup, fsGroupChangePolicy: 'OnRootMismatch' } : {}),
  };
}

/** An autoscaler does nothing at zero replicas, so it stays when the version is stopped. */
function autoscalerOf(run: VersionRun): Manifest<'HorizontalPodAutoscaler'> {
  const name = versionObjectName(run.app, run.version);
  return {
    ...typeOf('HorizontalPodAutoscaler'),
    metadata: { name, labels: labelsOf(run.app, run.version) },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: deploymentName(run) },
      minReplicas: replicasOf(run),
      maxReplicas: run.spec.max_replicas ?? replicasOf(run),
      metrics: [
        {
          type: 'Resource',
          resource: {
            name: 'cpu',
            target: { type: 'Utilization', averageUtilization: run.config.kubernetes.scaling_threshold_cpu },
          },
        },
      ],
    },
  };
}

/** Digest of the manifests without the values of secrets: versions are immutable, and a digest would help to guess them. */
function contentOf(run: VersionRun, manifests: readonly Manifest[]): string {
  const shown = manifests.map((manifest) =>
    manifest.kind === 'Secret' ? [manifest.metadata, Object.keys(run.spec.secrets).sort()] : manifest,
  );
  return createHash('sha256').update(JSON.stringify(shown)).digest('hex').slice(0, 32);
}

function base64Values(values: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, Buffer.from(value, 'utf8').toString('base64')]),
  );
}
