/**
 * The cluster of the e2e tests: KUBECONFIG names it, HOLDFAST_TEST_REGISTRY (host:port, plain HTTP) the registry that has
 * library/holdfast:dev and library/test-app:1 and :2. This machine must reach its pod and Service addresses.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { request } from 'undici';
import { eventually } from '../../shared/wait/testing/eventually.ts';

const run = promisify(execFile);
const tools = process.env['TOOLS'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'one-node-kube');
const env = { ...process.env, PATH: `${tools}:${process.env['PATH'] ?? ''}` };

function named(variable: string): string {
  const value = process.env[variable];
  if (value === undefined || value === '') throw new Error(`${variable} must be set; \`npm test\` does it`);
  return value;
}

export function registryHost(): string {
  return named('HOLDFAST_TEST_REGISTRY');
}

/** @returns standard output. @throws with standard error in the message. */
export async function kubectl(...args: string[]): Promise<string> {
  named('KUBECONFIG');
  const { stdout } = await run('kubectl', args, { env, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

export async function helm(...args: string[]): Promise<string> {
  named('KUBECONFIG');
  const { stdout } = await run('helm', args, { env, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** What the registry says an image is now: a tag that was pushed again must not be taken from a node's cache. */
export async function digestOf(repository: string, tag: string): Promise<string> {
  const { statusCode, headers, body } = await request(`http://${registryHost()}/v2/${repository}/manifests/${tag}`, {
    method: 'HEAD',
    headers: {
      accept: 'application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json',
    },
  });
  await body.dump();
  const digest = headers['docker-content-digest'];
  if (statusCode !== 200 || typeof digest !== 'string')
    throw new Error(`${repository}:${tag} is not in ${registryHost()}: ${statusCode}`);
  return digest;
}

export interface PodView {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly status: {
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

export async function pods(namespace: string, selector: string): Promise<readonly PodView[]> {
  const { items } = JSON.parse(await kubectl('get', 'pods', '-n', namespace, '-l', selector, '-o', 'json')) as {
    items: PodView[];
  };
  return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

/** `Kind/name` of everything that an app may have left in a namespace; what Kubernetes puts there itself is left out. */
export async function objectsIn(namespace: string): Promise<readonly string[]> {
  const kinds =
    'deployments,replicasets,services,endpointslices,secrets,configmaps,pods,horizontalpodautoscalers,persistentvolumeclaims,jobs';
  const { items } = JSON.parse(await kubectl('get', kinds, '-n', namespace, '-o', 'json')) as {
    items: { kind: string; metadata: { name: string } }[];
  };
  return items
    .map(({ kind, metadata }) => `${kind}/${metadata.name}`)
    .filter((name) => name !== 'ConfigMap/kube-root-ca.crt' && !/^Secret\/holdfast.*-pull$/.test(name));
}

/**
 * kill -9 of what runs in a pod, on the node, which is this machine; resolves when it is gone.
 * @throws when no process of the pod is found here.
 */
export async function killContainers(pod: PodView): Promise<void> {
  const ids = [pod.metadata.uid, pod.metadata.uid.replaceAll('-', '_')];
  const killed: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const cgroup = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    // The sandbox stays: it is the pod's network.
    if (!ids.some((id) => cgroup.includes(id)) || command.startsWith('/pause')) continue;
    process.kill(Number(pid), 'SIGKILL');
    killed.push(pid);
  }
  if (killed.length === 0) throw new Error(`no process of pod ${pod.metadata.name} runs on this machine`);
  // A process that is to end still has its sockets until it has come to that, which takes long on a busy machine.
  await eventually(10_000, async () => {
    for (const pid of killed) {
      const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
      if (state !== undefined && !/\) [ZX] /.test(state)) throw new Error(`process ${pid} is still there`);
    }
  });
}
