/** nginx and HAProxy, where they are installed: as the backend, and as peers of the router. One process each, one thread. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Running } from './processes.ts';
import { freePort } from '../../shared/net/testing/free-ports.ts';
import { listens } from './ports.ts';
import type { Bench } from './question.ts';

/** Same as bench/programs/backend.ts answers. */
export const smallBody = JSON.stringify({ message: 'x'.repeat(114) });
export const largeBytes = 65_536;

type Rig = Pick<Bench, 'processes' | 'folder' | 'signal' | 'say'>;

/** @returns undefined where there is no nginx. */
export function startNginxBackend(rig: Rig, cores: string | undefined): Promise<Running | undefined> {
  return startNginx(rig, 'nginx-backend', cores, async (port) => {
    await writeFile(join(rig.folder, 'large'), 'x'.repeat(largeBytes));
    return `server {
      listen 127.0.0.1:${port} backlog=4096;
      # At the least cost, so that it is not what is measured: the file stays open, and goes out with its head without a copy.
      sendfile on; tcp_nopush on; open_file_cache max=16 inactive=1h; open_file_cache_valid 1h;
      location ~ large$ { root ${rig.folder}; try_files /large =404; }
      location / { default_type application/json; return 200 '${smallBody}'; }
    }`;
  });
}

/** @returns undefined where there is no nginx. */
export function startNginxProxy(
  rig: Rig,
  backendPort: number,
  cores: string | undefined,
): Promise<Running | undefined> {
  return startNginx(rig, 'nginx', cores, async (port) =>
    Promise.resolve(`upstream app { server 127.0.0.1:${backendPort}; keepalive 256; keepalive_requests 1000000000; }
    server {
      listen 127.0.0.1:${port} backlog=4096;
      location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }
    }`),
  );
}

async function startNginx(
  rig: Rig,
  name: string,
  cores: string | undefined,
  servers: (port: number) => Promise<string>,
): Promise<Running | undefined> {
  const port = await freePort();
  const file = join(rig.folder, `${name}.conf`);
  const bodies = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${join(rig.folder, `${name}-${kind}`)};`,
  );
  await writeFile(
    file,
    `daemon off; master_process off; pid ${file}.pid; error_log ${file}.log;
    events { worker_connections 8192; }
    http {
      access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
      ${bodies.join(' ')}
      ${await servers(port)}
    }`,
  );
  return startOther(rig, { name, port, command: ['nginx', '-c', file, '-e', `${file}.log`], cores });
}

/** @returns undefined where there is no HAProxy. */
export async function startHaproxy(
  rig: Rig,
  backendPort: number,
  cores: string | undefined,
): Promise<Running | undefined> {
  const port = await freePort();
  const file = join(rig.folder, 'haproxy.cfg');
  await writeFile(
    file,
    `global
  nbthread 1
  maxconn 5000
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout client 300s
  timeout server 300s
  timeout connect 5s
frontend calls
  bind 127.0.0.1:${port} backlog 4096
  default_backend app
backend app
  server app 127.0.0.1:${backendPort}
`,
  );
  return startOther(rig, { name: 'haproxy', port, command: ['haproxy', '-db', '-q', '-f', file], cores });
}

/** Starts a program that does not print its port; a shell prints it and then becomes the program. */
async function startOther(
  { processes, signal, say }: Rig,
  program: {
    readonly name: string;
    readonly port: number;
    readonly command: readonly string[];
    readonly cores: string | undefined;
  },
): Promise<Running | undefined> {
  const { name, port, command, cores } = program;
  const line = `command -v ${command[0]} >/dev/null || exit 1; echo '{"port":${port}}'; exec "$@"`;
  try {
    const running = await processes.start({ name, command: 'sh', args: ['-c', line, name, ...command], cores });
    await listens(port, signal);
    return running;
  } catch (error) {
    signal.throwIfAborted();
    say(`${name} is left out: ${(error as Error).message}`);
    return undefined;
  }
}
