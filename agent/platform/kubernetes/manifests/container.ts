/** The container of an app: image, command, environment, resources and the kubelet's probe. */
import type { V1Container, V1Probe, V1ResourceRequirements } from '@kubernetes/client-node';
import type { VersionRun } from '../../platform.ts';
import { readinessOf } from '../../readiness.ts';
import { literal } from './literal.ts';
import { versionObjectName } from './names.ts';

export interface ContainerOptions {
  /** Repository of the images built from sources: `host[:port]/project/app`. */
  readonly builtRepository: string;
}

export const containerName = 'app';

/** A pod that ends keeps answering for this time, until routers and kube-proxy know that it ends. */
const drainSleepSecs = 2;

export function replicasOf(run: Pick<VersionRun, 'spec'>): number {
  return Math.max(1, run.spec.min_replicas);
}

export function isAutoscaled(run: Pick<VersionRun, 'spec'>): boolean {
  return (run.spec.max_replicas ?? 1) > replicasOf(run);
}

export function containerOf(run: VersionRun, options: ContainerOptions): V1Container {
  const { spec } = run;
  const inputsName = versionObjectName(run.app, run.version);
  const from = [
    ...(Object.keys(spec.env).length > 0 ? [{ configMapRef: { name: inputsName } }] : []),
    ...(Object.keys(spec.secrets).length > 0 ? [{ secretRef: { name: inputsName } }] : []),
  ];
  return {
    name: containerName,
    ...imageOf(run, options),
    ...(spec.command === undefined ? {} : { command: spec.command.map(literal) }),
    ports: [{ name: 'http', containerPort: spec.port, protocol: 'TCP' }],
    env: [
      { name: 'PORT', value: literal(String(spec.port)) },
      { name: 'HOLDFAST_APP', value: literal(run.app) },
      { name: 'HOLDFAST_VERSION', value: literal(String(run.version)) },
      { name: 'HOLDFAST_PATH', value: literal(spec.path) },
    ],
    // The values of ConfigMaps and Secrets are not expanded.
    ...(from.length === 0 ? {} : { envFrom: from }),
    resources: resourcesOf(run),
    readinessProbe: readinessProbeOf(run),
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
 * The kubelet takes nothing but 2xx and 3xx as an answer, so it asks an app for a page only if that has one to be asked for. Whether other
 * apps answer by HTTP is for the agent's own probe, before a version gets its first call.
 */
function readinessProbeOf({ spec }: VersionRun): V1Probe {
  const { authority } = readinessOf(spec);
  const headers = authority === undefined ? {} : { httpHeaders: [{ name: 'Host', value: authority }] };
  return {
    ...(spec.health_url === undefined || spec.protocol === 'h2c'
      ? { tcpSocket: { port: spec.port } }
      : { httpGet: { path: spec.health_url, port: spec.port, scheme: 'HTTP', ...headers } }),
    periodSeconds: 1,
    timeoutSeconds: 2,
    successThreshold: 1,
    failureThreshold: 3,
  };
}

/**
 * A pinned image never changes, so a node that has it need not ask the registry. Without a pin (no registry answered when
 * the version was created) the usual rule holds: `latest` is pulled each time, any other tag is used as the node has it.
 */
function imageOf(
  run: VersionRun,
  { builtRepository }: ContainerOptions,
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
