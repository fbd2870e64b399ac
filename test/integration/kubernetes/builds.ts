/** Kaniko builds on a real cluster: a builder with an agent's port on the host's side, trees, and requests. */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { builder as builderSection } from '../../../agent/config/builder-section.ts';
import { registry as registrySection } from '../../../agent/config/registry-section.ts';
import { source as sourceSection } from '../../../agent/config/source-sections.ts';
import type { BuildOptions, BuildRequest } from '../../../agent/images/builder.ts';
import { createKanikoBuilder, type KanikoBuilder } from '../../../agent/images/kaniko/create-kaniko-builder.ts';
import type { BuildConfig } from '../../../agent/images/kaniko/job.ts';
import type { DockerConfig } from '../../../agent/registry/credentials.ts';
import { createRegistry } from '../../../agent/registry/registry.ts';
import { systemClock } from '../../../shared/wait/clock.ts';
import { toAppError } from '../../../shared/errors.ts';
import { silentLog } from '../../../shared/log.ts';
import { sendProblem } from '../../../shared/problem.ts';
import type { Cluster, Scope } from './cluster.ts';
import { openHumbleApi } from './humble.ts';

type Overrides = Readonly<Record<string, unknown>>;

export interface BuildGround {
  /** `host:port` of the cluster's registry. */
  readonly registryHost: string;
  /** The address of this host that pods reach. */
  readonly ownHost: string;
  /** Closed with the scope; it leads from now on. */
  builder(options?: {
    /** Keys of [builder], and of [registry]. */
    readonly builder?: Overrides;
    readonly registry?: Overrides;
    readonly ca?: string;
    readonly dockerConfig?: DockerConfig;
  }): KanikoBuilder;
  /** From now on the agent's port leads to this one (undefined: the agent is away). */
  lead(builder: KanikoBuilder | undefined): void;
  request(files: Readonly<Record<string, string>>, more?: Partial<BuildRequest>): Promise<BuildRequest>;
  /** Digest of an image in the cluster's registry. */
  digestOf(image: string): Promise<string | undefined>;
}

/** As in charts/holdfast/templates/agent/role.yaml. */
const rules = [
  { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch', 'patch'] },
  { apiGroups: ['batch'], resources: ['jobs'], verbs: ['get', 'list', 'watch', 'create', 'delete'] },
  { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
  { apiGroups: [''], resources: ['secrets'], verbs: ['create'] },
  { apiGroups: [''], resources: ['events'], verbs: ['list'] },
];

export async function openBuildGround(scope: Scope, cluster: Cluster): Promise<BuildGround> {
  const registryHost = process.env['HOLDFAST_TEST_REGISTRY'];
  if (registryHost === undefined || registryHost === '') throw new Error('HOLDFAST_TEST_REGISTRY is not set');
  const folder = await mkdtemp(join(tmpdir(), 'hf-builds-'));
  const project = `it/${randomBytes(4).toString('hex')}`;
  const registry = createRegistry({ own: { host: registryHost, insecure: true } });
  const api = await openHumbleApi(scope, cluster, rules);
  const opened: KanikoBuilder[] = [];
  let leader: KanikoBuilder | undefined;

  const server = createServer((request, response) => {
    if (leader === undefined) {
      response.destroy();
      return;
    }
    const admit = (): never => {
      throw new Error('not asked');
    };
    leader.endpoint.handle(request, response, admit).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendProblem(response, toAppError(error));
    });
  });
  const host = await ownAddress(registryHost);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;

  scope.after(async () => {
    await Promise.all(opened.map((builder) => builder.close()));
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await registry.close();
    await rm(folder, { recursive: true, force: true });
  });

  return {
    registryHost,
    ownHost: host,
    builder(options = {}) {
      const config: BuildConfig = {
        builder: builderSection.parse({
          fetch_image: 'holdfast:dev',
          agent_url: `http://${host}:${String(port)}`,
          registry_mirrors: [registryHost],
          insecure_registries: [registryHost],
          memory: '1Gi',
          cpus: '50m',
          ...options.builder,
        }),
        registry: registrySection.parse({ url: registryHost, insecure: true, project, ...options.registry }),
        source: sourceSection.parse({}),
        kubernetes: {
          namespace: cluster.namespace,
          apps_namespace: cluster.namespace,
          lease_name: 'holdfast-agent',
          pod_name: 'test',
          image_pull_secrets: [],
        },
      };
      const builder = createKanikoBuilder({
        api,
        config,
        own: { ca: options.ca },
        credentials: { dockerConfig: () => Promise.resolve(options.dockerConfig ?? { auths: {} }) },
        log: silentLog,
        clock: systemClock,
      });
      opened.push(builder);
      leader = builder;
      return builder;
    },
    lead(builder) {
      leader = builder;
    },
    async request(files, more = {}) {
      const tag = randomBytes(20).toString('hex');
      const root = join(folder, tag);
      for (const [path, text] of Object.entries(files)) {
        await mkdir(dirname(join(root, path)), { recursive: true });
        await writeFile(join(root, path), text);
      }
      await mkdir(root, { recursive: true });
      return {
        tag,
        image: `${registryHost}/${project}/app:${tag}`,
        tree: { folder: root, digest: `sha256:${'0'.repeat(64)}` },
        dockerfile: 'Dockerfile',
        extraFiles: {},
        args: {},
        secretArgs: {},
        target: undefined,
        app: 'shop',
        version: 1,
        ...more,
      };
    },
    digestOf: (image) => registry.exists(image, AbortSignal.timeout(10_000)),
  };
}

export interface Heard extends BuildOptions {
  readonly lines: string[];
  readonly phases: string[];
}

export function listen(options: Partial<BuildOptions> = {}): Heard {
  const lines: string[] = [];
  const phases: string[] = [];
  return {
    signal: AbortSignal.timeout(120_000),
    onLine: (line) => lines.push(line),
    onPhase: (message) => phases.push(message),
    ...options,
    lines,
    phases,
  };
}

/** The address of this host that the cluster reaches: the one it is reached from. */
async function ownAddress(target: string): Promise<string> {
  const [host, port] = target.split(':');
  const socket = connect(Number(port), host);
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  const address = socket.localAddress ?? '';
  socket.destroy();
  return address;
}
