/** A whole Holdfast on this machine for one question: a database, the agent on the process platform, and a router. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toAppError } from '../../shared/errors.ts';
import { agentMethods, type ParamsInputOf, type ResultOf } from '../../shared/protocol/methods.ts';
import { freePort } from '../../shared/net/testing/free-ports.ts';
import { callByHttp } from '../../shared/rpc/http-call.ts';
import { createDatabase } from '../../test/support/postgres-database.ts';
import type { Running } from './processes.ts';
import type { Bench } from './question.ts';
import { startRouter } from './router.ts';
import { until } from './until.ts';

type Methods = typeof agentMethods;

const leaseSecs = 10;
const callDeadlineMs = 60_000;
const leadsWithinMs = 30_000;
const asleepWithinMs = 60_000;

export class Stack {
  readonly #bench: Bench;
  readonly #agentUrl: string;
  readonly #token: string;
  /** What keeps the apps. */
  readonly database: string;

  private constructor(bench: Bench, agentUrl: string, token: string, database: string) {
    this.#bench = bench;
    this.#agentUrl = agentUrl;
    this.#token = token;
    this.database = database;
  }

  static async start(bench: Bench): Promise<Stack> {
    const token = randomBytes(24).toString('hex');
    const database = await openDatabase(bench);
    const config = join(bench.folder, 'agent.toml');
    const text = `[system]
listen_host = "127.0.0.1"
listen_port = 0
admin_port = 0
data_dir = "${join(bench.folder, 'data')}"
router_lease_secs = ${leaseSecs}
[metadata]
db_connection = "${database.url}"
[[token]]
name = "bench"
scopes = ["admin"]
value = "${token}"
`;
    await writeFile(config, text, { mode: 0o600 });
    const agent = await bench.processes.start({
      name: 'agent',
      args: [new URL('../../agent/main.ts', import.meta.url), '--config', config],
    });
    // Before the database is dropped.
    bench.after(() => agent.stop());
    const stack = new Stack(bench, `http://127.0.0.1:${agent.hello.port}`, token, database.name);
    const { signal } = bench;
    await until({ withinMs: leadsWithinMs, everyMs: 50, what: 'the agent leads', signal }, () =>
      stack.call('system.status', {}).then(
        () => true,
        (error: unknown) => {
          if (toAppError(error).code === 'not_leader') return false;
          throw error;
        },
      ),
    );
    return stack;
  }

  router(options: { readonly watchLoop?: boolean } = {}): Promise<Running> {
    return startRouter(this.#bench, { agentUrl: this.#agentUrl, token: this.#token, ...options });
  }

  /** @throws AppError of the answer. */
  call<K extends keyof Methods>(method: K, params: ParamsInputOf<Methods[K]>): Promise<ResultOf<Methods[K]>> {
    const { signal } = this.#bench;
    const endpoint = { url: this.#agentUrl, token: this.#token, methods: agentMethods };
    return callByHttp(endpoint, method, params, { deadlineMs: callDeadlineMs, signal });
  }

  async asleep(app: string): Promise<void> {
    const { signal } = this.#bench;
    await until({ withinMs: asleepWithinMs, everyMs: 50, what: `${app} is asleep`, signal }, async () => {
      return (await this.call('apps.get', { app })).state === 'asleep';
    });
  }
}

/** A new database on HOLDFAST_TEST_DATABASE_URL, dropped afterwards; without that an embedded Postgres. */
async function openDatabase(bench: Bench): Promise<{ readonly name: string; readonly url: string }> {
  const server = process.env['HOLDFAST_TEST_DATABASE_URL'];
  if (server === undefined || server === '') {
    const port = await freePort();
    const args = [new URL('../../cli/embedded/postgres.ts', import.meta.url), join(bench.folder, 'pg'), String(port)];
    await bench.processes.startByMessage({ name: 'postgres', args });
    return { name: 'PGlite', url: `postgres://postgres@127.0.0.1:${port}/postgres` };
  }
  const { url, drop } = await createDatabase(server, 'bench');
  bench.after(drop);
  return { name: 'Postgres', url };
}
