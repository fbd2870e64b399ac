/** The objects that make up a version in Kubernetes: pure functions from the declared app to manifests. */
import { createHash } from 'node:crypto';
import type { V1Container, V1ResourceRequirements } from '@kubernetes/client-node';
import type { VersionRun } from '../../platform.ts';
import { typeOf, type Kinds, type ObjectMeta } from '../../../kube/kinds.ts';
import { labels } from '../../../kube/labels.ts';
import { appObjectName, claimName, labelsOf, versionObjectName } from './names.ts';

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

export const containerName = 'app';
/** Annotation of the Deployment: digest of everything that is applied for the version, except the values of secrets. */
export const contentAnnotation = 'holdfast.dev/content';
/** Annotation of pods that speak HTTP/2, which the kubelet cannot probe: the path that the agent probes. */
export const http2HealthAnnotation = 'holdfast.dev/http2-health-path';

/** A pod that ends keeps answering for this time, until routers and kube-proxy know that it ends. */
const drainSleepSecs = 2;
const terminationGraceSecs = 30;

export function replicasOf(run: Pick<VersionRun, 'spec'>): number {
  return Math.max(1, run.spec.min_replicas);
}

export function isAutoscaled(run: Pick<VersionRun, 'spec'>): boolean {
  return (run.spec.max_replicas ?? 1) > replicasOf(run);
}

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
  const deployment = { ...bare, metadata: { ...bare.metadata, annotations: { [contentAnnotation]: content } } };
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
          ...(spec.protocol === 'h2c' && spec.health_url !== undefined
            ? { annotations: { [http2HealthAnnotation]: spec.health_url } }
            : {}),
        },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: terminationGraceSecs,
          securityContext: {
            seccompProfile: { type: 'RuntimeDefault' },
            ...(run.config.kubernetes.run_as_non_root ? { runAsNonRoot: true } : {}),
          },
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

function containerOf(run: VersionRun, options: ObjectsOptions): V1Container {
  const { spec } = run;
  const inputsName = versionObjectName(run.app, run.version);
  const from = [
    ...(Object.keys(spec.env).length > 0 ? [{ configMapRef: { name: inputsName } }] : []),
    ...(Object.keys(spec.secrets).length > 0 ? [{ secretRef: { name: inputsName } }] : []),
  ];
  return {
    name: containerName,
    ...imageOf(run, options),
    // Kubernetes would expand $(NAME); the app gets what was declared.
    ...(spec.command === undefined ? {} : { command: spec.command.map((part) => part.replaceAll('$(', '$$$(')) }),
    ports: [{ name: 'http', containerPort: spec.port, protocol: 'TCP' }],
    env: [
      { name: 'PORT', value: String(spec.port) },
      { name: 'HOLDFAST_APP', value: run.app },
      { name: 'HOLDFAST_VERSION', value: String(run.version) },
      { name: 'HOLDFAST_PATH', value: spec.path },
    ],
    ...(from.length === 0 ? {} : { envFrom: from }),
    resources: resourcesOf(run),
    readinessProbe: {
      ...(spec.health_url === undefined || spec.protocol === 'h2c'
        ? { tcpSocket: { port: spec.port } }
        : { httpGet: { path: spec.health_url, port: spec.port, scheme: 'HTTP' } }),
      periodSeconds: 1,
      timeoutSeconds: 2,
      successThreshold: 1,
      failureThreshold: 3,
    },
    // The `sleep` action needs neither shell nor binary in the image: on by default since Kubernetes 1.30, GA in 1.34.
    // An app with a volume has no second pod that could take over meanwhile, so nothing is gained by a delay.
    ...(spec.volumes.length > 0 ? {} : { lifecycle: { preStop: { sleep: { seconds: drainSleepSecs } } } }),
    securityContext: {
      allowPrivilegeEscalation: false,
      // Baseline, not restricted: images that start as root need CHOWN, SETUID and others to switch to a user.
      capabilities: { drop: ['AUDIT_WRITE', 'MKNOD', 'NET_RAW', 'SETFCAP', 'SYS_CHROOT'] },
    },
    ...(spec.volumes.length === 0
      ? {}
      : { volumeMounts: spec.volumes.map((volume) => ({ name: volume.name, mountPath: volume.path })) }),
  };
}

/**
 * A pinned image never changes, so a node that has it need not ask the registry. Without a pin (no registry answered when
 * the version was created) the usual rule holds: `latest` is pulled each time, any other tag is used as the node has it.
 */
function imageOf(
  run: VersionRun,
  { builtRepository }: ObjectsOptions,
): { readonly image: string; readonly imagePullPolicy: 'Always' | 'IfNotPresent' } {
  // The image that was built from a source has a digest.
  const image = run.spec.image ?? `${builtRepository}:${run.pin.imageTag ?? 'none'}`;
  const digestAt = image.indexOf('@');
  if (digestAt >= 0) return { image, imagePullPolicy: 'IfNotPresent' };
  const slash = image.lastIndexOf('/');
  const colon = image.indexOf(':', slash + 1);
  const name = colon < 0 ? image : image.slice(0, colon);
  if (run.pin.imageDigest !== null) return { image: `${name}@${run.pin.imageDigest}`, imagePullPolicy: 'IfNotPresent' };
  const tag = colon < 0 ? 'latest' : image.slice(colon + 1);
  return { image, imagePullPolicy: tag === 'latest' ? 'Always' : 'IfNotPresent' };
}

function resourcesOf({ spec }: VersionRun): V1ResourceRequirements {
  // The autoscaler measures against the request, so an autoscaled app always requests something.
  const cpu = spec.cpus ?? (isAutoscaled({ spec }) ? '100m' : undefined);
  const requests = {
    ...(cpu === undefined ? {} : { cpu }),
    ...(spec.memory === undefined ? {} : { memory: spec.memory }),
  };
  return {
    ...(Object.keys(requests).length === 0 ? {} : { requests }),
    ...(spec.memory === undefined ? {} : { limits: { memory: spec.memory } }),
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
