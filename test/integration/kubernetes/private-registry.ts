/** A docker-registry on the host's side of the cluster, with a password and a certificate that nobody trusts by default. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { certificates } from '../../support/certificates.ts';
import { eventually } from '../../../shared/wait/testing/eventually.ts';
import type { Scope } from './cluster.ts';
import { freePort } from '../../../shared/net/testing/free-ports.ts';

/** Of Debian's package of that name. */
const program = 'docker-registry';

/** bcrypt of `right-password`, of the user `holdfast`. */
const htpasswd = 'holdfast:$2y$05$90hDharuZCFFthRc5.3NVOhgKQ.Tk0wxwK0bDNEdhXsVivZLOGCB6\n';

/** Debian's `docker-registry`, ended with the scope. @returns `host:port`, and its authority as PEM. */
export async function startPrivateRegistry(
  scope: Scope,
  address: string,
): Promise<{ readonly host: string; readonly ca: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'hf-registry-'));
  const { ca, cert, key } = await certificates(folder, address);
  const host = `${address}:${String(await freePort(address))}`;
  const at = (name: string): string => join(folder, name);
  await Promise.all([
    writeFile(at('htpasswd'), htpasswd),
    writeFile(at('server.crt'), cert),
    writeFile(at('server.key'), key),
  ]);
  const config = {
    version: '0.1',
    log: { level: 'error' },
    storage: { filesystem: { rootdirectory: at('data') } },
    auth: { htpasswd: { realm: 'test', path: at('htpasswd') } },
    http: { addr: host, secret: 'test', tls: { certificate: at('server.crt'), key: at('server.key') } },
  };
  // JSON is YAML.
  await writeFile(at('config.yml'), JSON.stringify(config));
  const child = spawn(program, ['serve', at('config.yml')], { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
  scope.after(async () => {
    child.kill('SIGKILL');
    await exited;
    await rm(folder, { recursive: true, force: true });
  });
  await eventually(10_000, () => answers(host, ca));
  return { host, ca };
}

async function answers(host: string, ca: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    get(`https://${host}/v2/`, { ca, agent: false }, (response) => {
      response.resume();
      resolve();
    }).on('error', reject);
  });
}
