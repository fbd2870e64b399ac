/** One `helm install` of the chart for the tests, and the ways in: the CLI as it is shipped, the RPC, the routers. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { agentMethods, type ParamsInputOf, type ResultOf } from '../../shared/protocol/methods.ts';
import { callByHttp } from '../../shared/rpc/http-call.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { digestOf, helm, kubectl, pods, registryHost, type PodView } from './cluster.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
type Methods = typeof agentMethods;

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Release {
  readonly namespace: string;
  readonly appsNamespace: string;
  readonly #links: number;
  #agentUrl = '';
  #token = '';

  /** @param links of routers to the agent: each worker of each router has one. */
  constructor(namespace: string, links = 2) {
    this.namespace = namespace;
    this.#links = links;
    this.appsNamespace = `${namespace}-apps`;
  }

  /** Waits until every pod is Ready. @param values `key=value` of `--set`. */
  async install(...values: string[]): Promise<void> {
    const image = [
      `image.repository=${registryHost()}/library/holdfast`,
      `image.digest=${await digestOf('library/holdfast', 'dev')}`,
    ];
    const sets = [...image, ...values].flatMap((value) => ['--set', value]);
    const where = ['--namespace', this.namespace, '--create-namespace'];
    await helm(
      'upgrade',
      '--install',
      'holdfast',
      `${root}charts/holdfast`,
      ...where,
      '--wait',
      '--timeout',
      '5m',
      ...sets,
    );
    const ip = await kubectl(
      'get',
      'service',
      '-n',
      this.namespace,
      'holdfast-agent',
      '-o',
      'jsonpath={.spec.clusterIP}',
    );
    this.#agentUrl = `http://${ip}:7400`;
    const token = await kubectl(
      'get',
      'secret',
      '-n',
      this.namespace,
      'holdfast-admin-token',
      '-o',
      'jsonpath={.data.token}',
    );
    this.#token = Buffer.from(token, 'base64').toString();
    await this.settled();
  }

  async uninstall(): Promise<void> {
    await helm('uninstall', 'holdfast', '--namespace', this.namespace, '--wait', '--timeout', '2m');
    await kubectl('delete', 'namespace', this.namespace, this.appsNamespace, '--ignore-not-found');
  }

  /** An agent leads and both routers watch routes. */
  async settled(): Promise<void> {
    await eventually(60_000, async () => {
      const { routers } = await this.call('system.status', {});
      if (routers.length !== this.#links) throw new Error(`${routers.length} routers watch`);
    });
  }

  get agentUrl(): string {
    return this.#agentUrl;
  }

  get token(): string {
    return this.#token;
  }

  pods(component: 'router' | 'agent' | 'postgres'): Promise<readonly PodView[]> {
    return pods(this.namespace, `app.kubernetes.io/component=${component}`);
  }

  async routerUrls(): Promise<readonly string[]> {
    return (await this.pods('router')).map(({ status }) => `http://${status.podIP ?? ''}:8080`);
  }

  /** Through the Service, as callers in the cluster do. */
  async serviceUrl(): Promise<string> {
    const where = ['service', '-n', this.namespace, 'holdfast-router', '-o', 'jsonpath={.spec.clusterIP}'];
    return `http://${await kubectl('get', ...where)}`;
  }

  /** The shipped command line, as a user's shell starts it. */
  cli(...args: string[]): Promise<CliResult> {
    const env = { ...process.env, HOLDFAST_AGENT: this.#agentUrl, HOLDFAST_TOKEN: this.#token };
    return new Promise((resolve) => {
      execFile(
        process.execPath,
        [`${root}cli/holdfast.mjs`, ...args],
        { env, timeout: 120_000 },
        (error, stdout, stderr) => {
          resolve({ code: typeof error?.code === 'number' ? error.code : error ? 1 : 0, stdout, stderr });
        },
      );
    });
  }

  /** @throws AppError of the answer. */
  call<K extends keyof Methods>(method: K, params: ParamsInputOf<Methods[K]>): Promise<ResultOf<Methods[K]>> {
    return callByHttp({ url: this.#agentUrl, token: this.#token, methods: agentMethods }, method, params, {
      deadlineMs: 120_000,
    });
  }
}
