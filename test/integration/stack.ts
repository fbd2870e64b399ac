/** A whole Holdfast of real processes on this machine: agent (process platform), routers, a database of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { agentMethods, type ParamsInputOf, type ResultOf } from '../../shared/protocol/methods.ts';
import { callByHttp } from '../../shared/rpc/http-call.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { emptyDatabase } from './database.ts';
import { freePorts } from '../../shared/net/testing/free-ports.ts';

const root = new URL('../../', import.meta.url).pathname;
export const testAppFolder = join(root, 'test/apps/test-app');
const token = 'integration-test-token-0123456789';

type Methods = typeof agentMethods;

export class Stack {
  readonly #t: TestContext;
  readonly #folder: string;
  readonly #files: Map<string, string>;
  readonly #children = new Map<string, ChildProcess>();
  /** What the processes have written so far. */
  output = '';
  readonly agentUrl: string;
  readonly routerUrls: readonly string[];

  private constructor(
    t: TestContext,
    own: {
      readonly folder: string;
      readonly files: Map<string, string>;
      readonly agentUrl: string;
      readonly routerUrls: readonly string[];
    },
  ) {
    this.#t = t;
    this.#folder = own.folder;
    this.#files = own.files;
    this.agentUrl = own.agentUrl;
    this.routerUrls = own.routerUrls;
  }

  /** @param database URL; a database of its own by default. */
  static async start(
    t: TestContext,
    options: { readonly routers?: number; readonly database?: string; readonly router?: string } = {},
  ): Promise<Stack> {
    const { routers = 2, router = '' } = options;
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-stack-'));
    const database = options.database ?? (await emptyDatabase(t));
    const [rpc, admin, ...ports] = await freePorts(2 + routers * 2);
    const files = new Map<string, string>();
    files.set(
      'agent',
      `[system]\nlisten_host = "127.0.0.1"\nlisten_port = ${rpc}\nadmin_port = ${admin}\ndata_dir = "${folder}/data"\nrouter_lease_secs = 3\n` +
        `[metadata]\ndb_connection = "${database}"\n[[token]]\nname = "test"\nscopes = ["admin"]\nvalue = "${token}"\n`,
    );
    const urls: string[] = [];
    for (let i = 0; i < routers; i += 1) {
      files.set(
        `router${i}`,
        `[router]\nname = "router${i}"\nlisten_host = "127.0.0.1"\nlisten_port = ${ports[i * 2]}\nadmin_port = ${ports[i * 2 + 1]}\n` +
          `agent_url = "http://127.0.0.1:${rpc}"\ntoken = "${token}"\nlease_secs = 3\ndrain_delay_secs = 0\n${router}`,
      );
      urls.push(`http://127.0.0.1:${ports[i * 2]}`);
    }
    const stack = new Stack(t, { folder, files, agentUrl: `http://127.0.0.1:${rpc}`, routerUrls: urls });
    t.after(() => stack.#close());
    for (const name of files.keys()) await stack.spawn(name);
    await stack.settled();
    return stack;
  }

  /** Every router watches routes. */
  async settled(): Promise<void> {
    await eventually(30_000, async () => {
      const { routers } = await this.call('system.status', {});
      if (routers.length !== this.routerUrls.length) throw new Error(`${routers.length} routers watch`);
    });
  }

  async spawn(name: string): Promise<void> {
    const config = join(this.#folder, `${name}.toml`);
    await writeFile(config, this.#files.get(name) ?? '');
    const main = name === 'agent' ? 'agent/main.ts' : 'router/main.ts';
    const child = spawn(process.execPath, [main, '--config', config], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    // The log is shown when the test fails only by way of the runner's diagnostics, and bounded by being last lines.
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
      this.#t.diagnostic(`${name}: ${text.trim().slice(0, 400)}`);
    });
    this.#children.set(name, child);
  }

  /** A token with all scopes. */
  get token(): string {
    return token;
  }

  signal(name: string, signal: NodeJS.Signals): void {
    this.#children.get(name)?.kill(signal);
  }

  /** @returns when the process has ended. */
  async kill(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = this.#children.get(name);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  /** @throws AppError of the answer. */
  call<K extends keyof Methods>(method: K, params: ParamsInputOf<Methods[K]>): Promise<ResultOf<Methods[K]>> {
    return callByHttp({ url: this.agentUrl, token: token, methods: agentMethods }, method, params, {
      deadlineMs: 120_000,
    });
  }

  async #close(): Promise<void> {
    const names = [...this.#children.keys()].toSorted().toReversed();
    await Promise.all(names.map((name) => this.kill(name, 'SIGTERM')));
    await rm(this.#folder, { recursive: true, force: true });
  }
}
