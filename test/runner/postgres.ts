/** Starts a Postgres for the test run: as an unprivileged user, in a temporary folder, on a free port of 127.0.0.1. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, globSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { output, run } from './command.ts';
import { freePort } from '../../shared/net/testing/free-ports.ts';

export interface TestPostgres {
  /** URL of the database `postgres`, with the superuser's rights. */
  readonly url: string;
  close(): Promise<void>;
}

const startDeadlineMs = 30_000;
/** Durability is off: nothing in this database outlives the run. */
const settings = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'max_connections=200'];

export async function startPostgres(options: {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}): Promise<TestPostgres> {
  const { folder, env, signal } = options;
  const programs = await findPrograms(env, signal);
  const user = await unprivilegedUser(env);
  const data = join(folder, 'postgres');
  mkdirSync(data, { recursive: true });
  if (user !== undefined) chownSync(data, user.uid, user.gid);
  const initdb = ['--pgdata', data, '--username', 'postgres', '--auth', 'trust', '--no-sync', '--encoding', 'UTF8'];
  await output(join(programs, 'initdb'), initdb, { env, signal, ...user });

  const port = await freePort();
  const args = ['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='];
  const server = spawn(join(programs, 'postgres'), [...args, ...settings.flatMap((setting) => ['-c', setting])], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true, // it ends after what uses it, also at Ctrl-C
    ...user,
  });
  let log = '';
  server.stderr.setEncoding('utf8').on('data', (text: string) => (log = (log + text).slice(-4_096)));
  const exited = once(server, 'exit');
  const close = async (): Promise<void> => {
    server.kill('SIGINT'); // "fast": ends the sessions
    const killer = setTimeout(() => server.kill('SIGKILL'), 10_000);
    await exited;
    clearTimeout(killer);
    rmSync(data, { recursive: true, force: true });
  };
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  try {
    await untilAnswers(url, signal);
  } catch (error) {
    await close();
    throw new Error(`Postgres did not start: ${log}`, { cause: error });
  }
  return { url, close };
}

/** Finds Postgres's programs, which Debian keeps outside PATH in a folder per version. */
async function findPrograms(env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<string> {
  const find = (): string | undefined => globSync('/usr/lib/postgresql/*/bin').toSorted().at(-1);
  const found = find();
  if (found !== undefined) return found;
  // Keeps the package from creating and starting a cluster of its own.
  const script = `
    mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null`;
  process.stdout.write('installing postgresql\n');
  if ((await run('sh', ['-c', script], { env, signal })) !== 0) throw new Error('postgresql could not be installed');
  const installed = find();
  if (installed === undefined)
    throw new Error('postgresql is installed and its programs are not where Debian has them');
  return installed;
}

/** initdb and postgres refuse to run as root. */
async function unprivilegedUser(env: NodeJS.ProcessEnv): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const id = async (flag: string): Promise<number> => Number(await output('id', [flag, 'postgres'], { env }));
  return { uid: await id('-u'), gid: await id('-g') };
}

async function untilAnswers(url: string, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + startDeadlineMs;
  for (;;) {
    signal.throwIfAborted();
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
    try {
      await client.connect();
      return;
    } catch (error) {
      if (performance.now() > endMs) throw error;
    } finally {
      await client.end().catch(() => undefined); // never connected
    }
    await pause(50, undefined, { signal });
  }
}
