/** A namespace of its own on the cluster that KUBECONFIG names, and the platform on it. */
import { randomUUID } from 'node:crypto';
import type { TestContext } from 'node:test';
import { createKubeApi, type KubeApi } from '../../../agent/kube/api.ts';
import { loadClusterConfig } from '../../../agent/kube/cluster-config.ts';
import { createKubernetesPlatform, type KubernetesPlatform } from '../../../agent/platform/kubernetes/platform.ts';
import { testRun } from '../../../agent/testing/kubernetes-run.ts';
import type { StartOptions, VersionRun } from '../../../agent/platform/platform.ts';
import { AppError } from '../../../shared/errors.ts';
import { silentLog } from '../../../shared/log.ts';
import { systemClock } from '../../../shared/wait/clock.ts';
import { kubeRequest } from '../../support/kube-request.ts';
import { noBuilds } from '../../support/no-builds.ts';
import type { AppSpecInput } from '../../../shared/protocol/app-spec.ts';

export interface Cluster {
  readonly api: KubeApi;
  readonly namespace: string;
  /** Closed with the test. */
  platform(): KubernetesPlatform;
  get<T>(path: string): Promise<T>;
  patch(path: string, body: unknown): Promise<void>;
  create(path: string, body: unknown): Promise<void>;
  delete(path: string): Promise<void>;
}

/** The scope of a test or of a suite: what is opened for it is closed at its end. */
export type Scope = Pick<TestContext, 'after'>;

export async function openCluster(scope: Scope): Promise<Cluster> {
  const kubeconfig = process.env['KUBECONFIG'];
  if (kubeconfig === undefined || kubeconfig === '') {
    throw new Error('KUBECONFIG is not set: these tests need a real cluster (test/cluster/up makes one)');
  }
  const api = createKubeApi({ config: loadClusterConfig({ kubeconfig, env: {} }), clock: systemClock });
  const namespace = `hf-it-${randomUUID().slice(0, 8)}`;
  const send = async (method: 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<void> => {
    await kubeRequest({ method, path, body });
  };
  await send('POST', '/api/v1/namespaces', { metadata: { name: namespace } });
  const opened: KubernetesPlatform[] = [];
  scope.after(async () => {
    await Promise.all(opened.map((platform) => platform.close()));
    await send('DELETE', `/api/v1/namespaces/${namespace}`);
    await api.close();
  });
  return {
    api,
    namespace,
    platform() {
      const platform = createKubernetesPlatform({
        api,
        appsNamespace: namespace,
        imagePullSecrets: [],
        registry: { digest: () => Promise.reject(new AppError('registry_unavailable', 'not asked in these tests')) },
        ...noBuilds,
        log: silentLog,
      });
      opened.push(platform);
      return platform;
    },
    get: <T>(path: string) => kubeRequest<T>({ method: 'GET', path }),
    patch: (path, body) => send('PATCH', path, body),
    create: (path, body) => send('POST', path, body),
    delete: (path) => send('DELETE', path),
  };
}

const answering = `require('http').createServer((q, s) => s.end(process.env.HOLDFAST_VERSION + ' ' + q.url)).listen(process.env.PORT)`;

/** Programs for `node -e`, in the image that every test cluster has. */
export const programs = {
  answers: answering,
  /** Ends when it is told to, so that nobody waits out its grace. */
  answersAndEnds: `${answering}; process.on('SIGTERM', () => process.exit(0)); console.log('listens');`,
  // By one stream: of two, the runtime may log the later line first.
  crashes: `console.error('first line'); console.error('cannot open the database'); process.exit(3)`,
  neverReady: `console.log('waiting for nothing'); setInterval(() => {}, 1000)`,
  answersLate: `setTimeout(() => { ${answering} }, 4000)`,
  eatsMemory: `const kept = []; setInterval(() => kept.push(Buffer.alloc(20e6, 1)), 5)`,
} as const;

export function runOf(app: Partial<AppSpecInput> & { readonly name: string }, version = 1): VersionRun {
  const command = ['node', '-e', programs.answersAndEnds];
  return testRun({ path: `/${app.name}`, image: 'node:24-slim', command, ...app }, version);
}

export function startOptions(options: Partial<StartOptions> = {}): StartOptions {
  return { signal: AbortSignal.timeout(90_000), onPhase: () => undefined, ...options };
}

export function within(ms: number): AbortSignal {
  return AbortSignal.timeout(ms);
}

export async function answerOf(target: { readonly host: string; readonly port: number }): Promise<string> {
  const response = await fetch(`http://${target.host}:${String(target.port)}/`);
  return await response.text();
}

/** Looks again until it is so; the deadline is the signal's. */
export async function eventually(look: () => Promise<boolean> | boolean, signal: AbortSignal): Promise<void> {
  while (!(await look())) {
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
