/**
 * Manages the state folder of an embedded Holdfast: its claim, its tokens, the configuration of its processes,
 * and the file by which commands find it. Only its user can read it.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { stringify } from 'smol-toml';
import type { Environment } from '../../shared/config/environment.ts';
import { AppError } from '../../shared/errors.ts';
import { type Claim, claimFolder } from './claim.ts';
import { openStateFolder } from './open-state-folder.ts';

export interface EmbeddedPorts {
  readonly calls: number;
  readonly routerAdmin: number;
  readonly rpc: number;
  readonly agentAdmin: number;
}

export interface EmbeddedSettings {
  /** Whether changes in the folders of apps are applied. */
  readonly watch: boolean;
}

/** @param root the folder that it is started in. @throws UsageError if another Holdfast runs there, or as `openStateFolder`. */
export async function openWorkspace(root: string, options: { readonly env: Environment; readonly adopt: boolean }) {
  const folder = await openStateFolder(root, options.env, options.adopt);
  const claim: Claim = await claimFolder(folder);
  const path = (...names: string[]): string => join(folder, ...names);
  for (const name of ['tokens', 'logs']) mkdirSync(path(name), { recursive: true });
  const cliToken = keptToken(path('tokens', 'cli'));
  const routerToken = path('tokens', 'router');
  keptToken(routerToken);
  const agentConfig = path('agent.toml');
  const routerConfig = path('router.toml');
  const announcement = path('cli.json');
  const socket = placeSocket(path('postgres'));
  return {
    /** The folder that it was started in, which relative paths in environment variables refer to. */
    root,
    /** The absolute path of the state folder. */
    folder,
    /** The token of the command line, with the scope admin. */
    cliToken,
    agentConfig,
    routerConfig,
    path,
    /** Where Postgres listens. */
    postgresSocket: socket.path,
    /** Writes the configuration of the agent and the router. */
    configure(ports: EmbeddedPorts, settings: EmbeddedSettings): void {
      writePrivate(
        agentConfig,
        generated({
          ...agentKeys(ports, { folder, socket: socket.path, cliToken: path('tokens', 'cli'), routerToken }),
          source: { watch_folders: settings.watch },
        }),
      );
      writePrivate(routerConfig, generated(routerKeys(ports, routerToken)));
    },
    /** Makes commands in the folder and its subfolders use this agent from now on. */
    announce(agentUrl: string): void {
      writePrivate(announcement, `${JSON.stringify({ agent: agentUrl, token: cliToken })}\n`);
    },
    /** Withdraws the announcement and releases the claim on the folder. */
    async close(): Promise<void> {
      rmSync(announcement, { force: true });
      socket.remove();
      await claim.release();
    },
  };
}

export type Workspace = Awaited<ReturnType<typeof openWorkspace>>;

/** The lease is short because both ends are local: an apply after a start waits one lease for earlier routers. */
const leaseSecs = 2;

function agentKeys(
  ports: EmbeddedPorts,
  { folder, socket, cliToken, routerToken }: Record<'folder' | 'socket' | 'cliToken' | 'routerToken', string>,
): object {
  return {
    system: {
      container_command: 'process',
      listen_host: '127.0.0.1',
      listen_port: ports.rpc,
      admin_port: ports.agentAdmin,
      data_dir: folder,
      // Browsers and curl resolve every name below `localhost` to this machine: RFC 6761 §6.3.
      default_domain: 'localhost',
      public_url: `http://localhost:${ports.calls}`,
      router_lease_secs: leaseSecs,
    },
    metadata: { db_connection: `postgres://postgres@localhost/postgres?host=${encodeURIComponent(dirname(socket))}` },
    token: [
      { name: 'cli', scopes: ['admin'], value_file: cliToken },
      { name: 'router', scopes: ['router'], value_file: routerToken },
    ],
  };
}

function routerKeys(ports: EmbeddedPorts, routerToken: string): object {
  return {
    router: {
      listen_host: '127.0.0.1',
      listen_port: ports.calls,
      admin_port: ports.routerAdmin,
      name: 'local',
      agent_url: `http://127.0.0.1:${ports.rpc}`,
      token_file: routerToken,
      directory: true,
      // There is no load balancer that has to notice the shutdown.
      drain_delay_secs: 0,
      drain_timeout_secs: 5,
      lease_secs: leaseSecs,
    },
  };
}

function generated(keys: object): string {
  return `# Written by \`holdfast start\` each time it starts. To change values, set environment variables (docs/configuration.md).\n${stringify(keys)}`;
}

/** The name that clients of Postgres look for in the folder that they are given as the host. */
const socketName = '.s.PGSQL.5432';
/** A path of a socket has at most 107 bytes on Linux and 103 on macOS. */
const maxSocketPathBytes = 103;

/** @param wanted the folder of the socket; one in the temporary folder is made if its path is too long. */
function placeSocket(wanted: string): { readonly path: string; remove(): void } {
  const fits = Buffer.byteLength(join(wanted, socketName)) <= maxSocketPathBytes;
  if (fits) mkdirSync(wanted, { recursive: true, mode: 0o700 });
  const folder = fits ? wanted : mkdtempSync(join(tmpdir(), 'hf-pg-'));
  return {
    path: join(folder, socketName),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Tokens are kept across restarts, so that a token that the user has copied stays valid. */
function keptToken(file: string): string {
  if (existsSync(file)) return readFileSync(file, 'utf8').trim();
  const token = randomBytes(32).toString('base64url');
  writePrivate(file, `${token}\n`);
  return token;
}

function writePrivate(file: string, text: string): void {
  try {
    writeFileSync(file, text, { mode: 0o600 });
    chmodSync(file, 0o600);
  } catch (error) {
    throw new AppError('config_invalid', `cannot write ${file}: ${String(error)}`, { cause: error });
  }
}
