/** The manifests of a build's Job and its Secret. Pure: everything about a build pod that needs review is decided here. */
import type { V1SecretVolumeSource, V1Toleration } from '@kubernetes/client-node';
import type { AgentConfig } from '../../config/config.ts';
import { typeOf, type Kinds } from '../../kube/kinds.ts';
import { labels } from '../../kube/labels.ts';
import type { DockerConfig } from '../../registry/credentials.ts';
import type { BuildRequest } from '../builder.ts';
import { contextsPath } from '../context-endpoint.ts';
import { buildAnnotations, buildLabels, jobName, labelsOfBuild } from './build-names.ts';
import {
  contextVolumeFolder,
  dockerConfigFolder,
  executorArgs,
  registryFilesFolder,
  terminationLog,
  treeName,
} from './executor-args.ts';

export const containers = { fetch: 'fetch-context', build: 'kaniko' } as const;

export type BuildConfig = Pick<AgentConfig, 'builder' | 'registry' | 'source' | 'kubernetes'>;

export interface RegistryFiles {
  readonly ca?: string | undefined;
  readonly clientCert?: string | undefined;
  readonly clientKey?: string | undefined;
}

export interface JobParts {
  readonly request: Omit<BuildRequest, 'tree' | 'extraFiles'>;
  readonly config: BuildConfig;
  readonly files: RegistryFiles;
  readonly secretName: string;
  readonly tokenHash: string;
}

/** The environment of the published executor image, which some clusters and runtimes override. */
const executorEnvironment = {
  USER: 'root',
  HOME: '/root',
  PATH: '/usr/local/bin:/kaniko',
  DOCKER_CONFIG: '/kaniko/.docker/',
  SSL_CERT_DIR: '/kaniko/ssl/certs',
};

/** Names that a secret build argument must not have: the executor itself reads these variables. */
export const reservedArgs: ReadonlySet<string> = new Set(Object.keys(executorEnvironment));

/**
 * The default capabilities of container runtimes, except NET_RAW. The executor unpacks files of any owner and mode, and steps of a
 * Dockerfile change their user. Baseline pod security allows all of them.
 */
const rootCapabilities = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
];

/** Where the init container mounts the volume of the context. */
const fetchFolder = '/context';

/** A pod is evicted from a node that is unreachable for this long, and the build starts again elsewhere. */
const lostNodeSecs = 60;

export function jobManifest({ request, config, files, secretName, tokenHash }: JobParts): Kinds['Job'] {
  const { builder, kubernetes } = config;
  const own = labelsOfBuild({ tag: request.tag, app: request.app, agents: kubernetes.lease_name });
  return {
    ...typeOf('Job'),
    metadata: {
      name: jobName(request.tag),
      namespace: kubernetes.namespace,
      labels: own,
      annotations: {
        [buildAnnotations.tag]: request.tag,
        [buildAnnotations.image]: request.image,
        [buildAnnotations.version]: String(request.version),
        [buildAnnotations.secret]: secretName,
        [buildAnnotations.tokenHash]: tokenHash,
      },
    },
    spec: {
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      activeDeadlineSeconds: Math.ceil(builder.timeout_secs),
      ttlSecondsAfterFinished: builder.ttl_secs,
      template: { metadata: { labels: own }, spec: podSpec({ request, config, files, secretName }) },
    },
  };
}

function podSpec({
  request,
  config,
  files,
  secretName,
}: Omit<JobParts, 'tokenHash'>): NonNullable<Kinds['Pod']['spec']> {
  const { builder, source } = config;
  const hasFiles = files.ca !== undefined || files.clientCert !== undefined;
  return {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    // The executor has nothing to end in order.
    terminationGracePeriodSeconds: 1,
    securityContext: { seccompProfile: { type: 'RuntimeDefault' } },
    nodeSelector: builder.node_selector,
    tolerations: [
      ...['not-ready', 'unreachable'].map((state) => ({
        key: `node.kubernetes.io/${state}`,
        operator: 'Exists',
        effect: 'NoExecute',
        tolerationSeconds: lostNodeSecs,
      })),
      ...builder.tolerations,
    ] as V1Toleration[],
    imagePullSecrets: builder.image_pull_secrets.map((name) => ({ name })),
    initContainers: [
      {
        name: containers.fetch,
        image: builder.fetch_image ?? '',
        command: ['node', 'agent/images/fetch-context.ts'],
        env: [
          { name: 'HOLDFAST_CONTEXT_URL', value: `${builder.agent_url ?? ''}${contextsPath}` },
          { name: 'HOLDFAST_CONTEXT_TOKEN', valueFrom: { secretKeyRef: { name: secretName, key: 'token' } } },
          { name: 'HOLDFAST_CONTEXT_FOLDER', value: `${fetchFolder}/${treeName}` },
          { name: 'HOLDFAST_CONTEXT_MAX_BYTES', value: String(source.max_bytes) },
          { name: 'HOLDFAST_CONTEXT_MAX_FILES', value: String(source.max_files) },
        ],
        terminationMessagePath: terminationLog,
        securityContext: {
          runAsNonRoot: true,
          runAsUser: 1000,
          runAsGroup: 1000,
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
        resources: { requests: { cpu: '50m', memory: '64Mi' }, limits: { memory: '256Mi' } },
        volumeMounts: [{ name: 'context', mountPath: fetchFolder }],
      },
    ],
    containers: [
      {
        name: containers.build,
        image: builder.kaniko_image,
        args: executorArgs(request, config, { ca: files.ca !== undefined, clientCert: files.clientCert !== undefined }),
        env: [
          ...Object.keys(request.secretArgs).map((name) => ({
            name,
            valueFrom: { secretKeyRef: { name: secretName, key: `arg.${name}` } },
          })),
          ...Object.entries(executorEnvironment).map(([name, value]) => ({ name, value })),
        ],
        terminationMessagePath: terminationLog,
        securityContext: {
          runAsUser: 0,
          runAsGroup: 0,
          runAsNonRoot: false,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'], add: rootCapabilities },
        },
        resources: {
          requests: { cpu: builder.cpus, memory: quarterOf(builder.memory) },
          limits: { memory: builder.memory },
        },
        volumeMounts: [
          { name: 'context', mountPath: contextVolumeFolder },
          { name: 'docker-config', mountPath: dockerConfigFolder, readOnly: true },
          ...(hasFiles ? [{ name: 'registry', mountPath: registryFilesFolder, readOnly: true }] : []),
        ],
      },
    ],
    volumes: [
      // Twice the largest source, since file systems round up.
      { name: 'context', emptyDir: { sizeLimit: String(source.max_bytes * 2) } },
      { name: 'docker-config', secret: secretFiles(secretName, ['config.json']) },
      ...(hasFiles
        ? [
            {
              name: 'registry',
              secret: secretFiles(
                secretName,
                registryFileNames(files).map(([name]) => name),
              ),
            },
          ]
        : []),
    ],
  };
}

/** The Secret of one attempt. The Job owns it, so that both are deleted together. */
export function secretManifest(secret: {
  readonly name: string;
  readonly job: { readonly name: string; readonly uid: string; readonly namespace: string };
  readonly labels: Readonly<Record<string, string>>;
  readonly token: string;
  readonly dockerConfig: DockerConfig;
  readonly files: RegistryFiles;
  readonly secretArgs: Readonly<Record<string, string>>;
}): Kinds['Secret'] {
  const { job, files } = secret;
  // Without the labels of an app's objects, since it is none.
  const { [labels.app]: _app, [labels.managedBy]: _manager, ...own } = secret.labels;
  return {
    ...typeOf('Secret'),
    metadata: {
      name: secret.name,
      namespace: job.namespace,
      labels: { ...own, [buildLabels.component]: 'build' },
      ownerReferences: [{ ...typeOf('Job'), name: job.name, uid: job.uid }],
    },
    immutable: true,
    type: 'Opaque',
    stringData: {
      token: secret.token,
      'config.json': JSON.stringify(secret.dockerConfig),
      ...Object.fromEntries(registryFileNames(files)),
      ...Object.fromEntries(Object.entries(secret.secretArgs).map(([name, value]) => [`arg.${name}`, value])),
    },
  };
}

function registryFileNames({ ca, clientCert, clientKey }: RegistryFiles): [string, string][] {
  const all: [string, string | undefined][] = [
    ['ca.crt', ca],
    ['client.crt', clientCert],
    ['client.key', clientKey],
  ];
  return all.filter((entry): entry is [string, string] => entry[1] !== undefined);
}

function secretFiles(secretName: string, keys: readonly string[]): V1SecretVolumeSource {
  return { secretName, defaultMode: 0o400, items: keys.map((key) => ({ key, path: key })) };
}

const unitBytes: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
};

/** A quarter of a Kubernetes quantity. An unknown format is returned as it is: the API server checks it, and the request equals the limit. */
function quarterOf(memory: string): string {
  const parts = /^(\d+(?:\.\d+)?)(|k|M|G|T|Ki|Mi|Gi|Ti)$/.exec(memory);
  const unit = unitBytes[parts?.[2] ?? ''];
  if (parts?.[1] === undefined || unit === undefined) return memory;
  return String(Math.ceil((Number(parts[1]) * unit) / 4));
}
