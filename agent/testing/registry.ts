/** A real registry for tests: the program docker-registry, on a free port, with its data in a folder that goes. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';

export interface TestRegistryOptions {
  /** `htpasswd -Bbn` lines. */
  readonly htpasswd?: string;
  /** PEM; with clientCa, clients need a certificate by it. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  readonly token?: { readonly realm: string; readonly certificate: string };
  readonly deletes?: boolean;
  /** Instead of a free one: for a registry that was there before. */
  readonly port?: number;
  /** Instead of a new one, which goes with the test. */
  readonly folder?: string;
}

export interface TestRegistry {
  /** `127.0.0.1:port` */
  readonly host: string;
  readonly folder: string;
  stop(): Promise<void>;
}

/** Debian's package of the same name. */
const program = 'docker-registry';

export const tokenService = { service: 'test registry', issuer: 'test issuer' } as const;

export async function startRegistry(t: TestContext, options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'holdfast-registry-')));
  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const { htpasswd, tls, token } = options;
  const auth: Record<string, unknown> = {};
  if (htpasswd !== undefined) auth['htpasswd'] = { realm: 'test', path: await file('htpasswd', htpasswd) };
  if (token !== undefined) {
    const rootcertbundle = await file('token.crt', token.certificate);
    auth['token'] = { realm: token.realm, ...tokenService, rootcertbundle };
  }
  const certificates = tls && {
    certificate: await file('tls.crt', tls.cert),
    key: await file('tls.key', tls.key),
    ...(tls.clientCa === undefined ? {} : { clientcas: [await file('clients.crt', tls.clientCa)] }),
  };
  const config = {
    version: '0.1',
    log: { level: 'info', formatter: 'json', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: options.deletes ?? true } },
    http: {
      addr: `127.0.0.1:${String(options.port ?? 0)}`,
      ...(certificates === undefined ? {} : { tls: certificates }),
    },
    ...(Object.keys(auth).length === 0 ? {} : { auth }),
  };
  // JSON is YAML.
  const child = spawn(program, ['serve', await file('config.yml', JSON.stringify(config))], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], OTEL_TRACES_EXPORTER: 'none' },
  });
  const exited = once(child, 'exit');
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  t.after(async () => {
    await stop();
    if (options.folder === undefined) await rm(folder, { recursive: true, force: true });
  });
  const lines: string[] = [];
  for await (const line of createInterface(child.stderr)) {
    lines.push(line);
    const host = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
    if (host === undefined) continue;
    child.stderr.resume();
    return { host, folder, stop };
  }
  throw new Error(`docker-registry does not run: ${lines.join('\n')}`);
}
