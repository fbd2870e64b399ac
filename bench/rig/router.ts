/** The router as it is shipped: `node router/main.ts`, with the flags of the chart and a configuration that says only what this machine needs. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { request } from 'undici';
import { routerNodeFlags } from '../../shared/node-flags.ts';
import type { Bench } from './question.ts';
import type { Running } from './processes.ts';
import { until } from './until.ts';

const readyWithinMs = 30_000;

/** Resolves when the router has a route table. */
export async function startRouter(
  { processes, folder, signal }: Pick<Bench, 'processes' | 'folder' | 'signal'>,
  options: {
    readonly agentUrl: string;
    readonly token: string;
    readonly cores?: string | undefined;
    /** What it is started by. */
    readonly within?: readonly [program: string, ...args: string[]] | undefined;
    readonly accessLog?: boolean;
    /** For `loopStall`. */
    readonly watchLoop?: boolean;
    /** The folder of the checkout that it is started from; without it this one. */
    readonly checkout?: string | undefined;
    /** More lines of `[router]`, and tables below it. */
    readonly config?: readonly string[];
  },
): Promise<Running> {
  const { accessLog = false, watchLoop = false, checkout, config: more = [] } = options;
  const config = join(folder, `router-${accessLog ? 'logging' : 'plain'}.toml`);
  const text = `[router]
listen_host = "127.0.0.1"
listen_port = 0
admin_port = 0
agent_url = "${options.agentUrl}"
token = "${options.token}"
access_log = ${accessLog}
drain_delay_secs = 0
drain_timeout_secs = 2
${more.join('\n')}
`;
  await writeFile(config, text, { mode: 0o600 });
  const [command, ...before] = options.within ?? [];
  const router = await processes.start({
    name: 'router',
    ...(command !== undefined && { command }),
    args: [
      ...(command === undefined ? [] : [...before, process.execPath]),
      ...(watchLoop ? ['--import', new URL('../programs/loop-watch.ts', import.meta.url).href] : []),
      ...routerNodeFlags,
      checkout === undefined ? new URL('../../router/main.ts', import.meta.url) : join(checkout, 'router/main.ts'),
      '--config',
      config,
    ],
    cores: options.cores,
  });
  await until({ withinMs: readyWithinMs, everyMs: 50, what: 'the router is ready', signal }, async () => {
    const { statusCode, body } = await request(`http://127.0.0.1:${router.hello.adminPort}/readyz`, { signal });
    await body.dump();
    return statusCode === 200;
  });
  return router;
}
