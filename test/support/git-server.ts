/**
 * A git server for tests: repositories in a temporary folder, served over https (a certificate of its own authority) by the
 * program `git http-backend`, with a user and a password where a test wants that.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { certificates } from './certificates.ts';

const run = promisify(execFile);

export interface GitRepository {
  readonly url: string;
  /** Replaces everything in the branch by these files. @returns the commit. */
  commit(files: Readonly<Record<string, string>>): Promise<string>;
  /** The same with a symbolic link beside them. */
  link(path: string, target: string, files: Readonly<Record<string, string>>): Promise<string>;
}

export interface GitServer {
  /** PEM of the authority. */
  readonly ca: string;
  readonly host: string;
  /** Requests that were answered so far. */
  readonly requests: number;
  repository(name: string): Promise<GitRepository>;
  close(): Promise<void>;
}

export interface GitServerOptions {
  /** Address to listen on, and the name in the certificate. */
  readonly address: string;
  readonly login?: { readonly username: string; readonly password: string };
}

export async function startGitServer({ address, login }: GitServerOptions): Promise<GitServer> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-git-'));
  const { ca, cert, key } = await certificates(join(folder, 'pki'), address);
  const root = join(folder, 'repositories');
  await mkdir(root);
  let requests = 0;
  const expected = login && `Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}`;
  const server = createServer({ cert, key }, (request, response) => {
    requests += 1;
    if (expected !== undefined && request.headers.authorization !== expected) {
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="git"' }).end();
      return;
    }
    backend(root, request, response);
  });
  server.listen(0, address);
  await once(server, 'listening');
  const bound = server.address();
  const host = `${address}:${typeof bound === 'object' && bound !== null ? bound.port : 0}`;
  return {
    ca,
    host,
    get requests() {
      return requests;
    },
    async repository(name) {
      const bare = join(root, `${name}.git`);
      await run('git', ['init', '--quiet', '--bare', '--initial-branch=main', bare]);
      const work = join(folder, 'work', name);
      await mkdir(work, { recursive: true });
      const git = async (...args: string[]): Promise<string> => {
        const identity = ['-c', 'user.name=test', '-c', 'user.email=test@git.example', '-c', 'commit.gpgsign=false'];
        const { stdout } = await run('git', ['-C', work, ...identity, ...args]);
        return stdout.trim();
      };
      await git('init', '--quiet', '--initial-branch=main');
      const write = async (files: Readonly<Record<string, string>>): Promise<void> => {
        await git('rm', '-r', '--quiet', '--force', '--ignore-unmatch', '.');
        for (const [path, text] of Object.entries(files)) {
          await mkdir(dirname(join(work, path)), { recursive: true });
          await writeFile(join(work, path), text);
        }
      };
      const publish = async (): Promise<string> => {
        await git('add', '--all');
        await git('commit', '--quiet', '--message=test');
        await git('push', '--quiet', '--force', bare, 'main');
        return await git('rev-parse', 'HEAD');
      };
      return {
        url: `https://${host}/${name}.git`,
        async commit(files) {
          await write(files);
          return await publish();
        },
        async link(path, target, files) {
          await write(files);
          await symlink(target, join(work, path));
          return await publish();
        },
      };
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** CGI, RFC 3875. */
function backend(root: string, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'https://git.example');
  const child = spawn('git', ['http-backend'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: {
      PATH: process.env['PATH'],
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      // A server that lets a client name the commit it wants, as the large hosts do.
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'uploadpack.allowReachableSHA1InWant',
      GIT_CONFIG_VALUE_0: 'true',
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'],
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'],
      GIT_PROTOCOL: [request.headers['git-protocol']].flat()[0],
    },
  });
  child.on('error', () => response.destroy());
  child.stdin.on('error', () => undefined);
  response.on('close', () => child.kill());
  request.pipe(child.stdin);
  let head = Buffer.alloc(0);
  const takeHead = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    child.stdout.off('data', takeHead);
    let status = 200;
    for (const line of head.subarray(0, end).toString('latin1').split('\r\n')) {
      const [name = '', value = ''] = line.split(/: */, 2);
      if (name.toLowerCase() === 'status') status = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.writeHead(status);
    response.write(head.subarray(end + 4));
    child.stdout.pipe(response);
  };
  child.stdout.on('data', takeHead);
}
