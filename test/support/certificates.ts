/** Certificates for the TLS servers of tests, made by the program `openssl`. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** An authority, and a server's certificate by it. */
export async function certificates(
  folder: string,
  address: string | readonly string[],
): Promise<{ readonly ca: string; readonly cert: string; readonly key: string }> {
  await mkdir(folder, { recursive: true });
  const at = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): Promise<unknown> => run('openssl', args);
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  await openssl(
    'req',
    '-x509',
    ...kind,
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.crt'),
    '-days',
    '2',
    '-subj',
    '/CN=test',
  );
  await openssl('req', ...kind, '-keyout', at('tls.key'), '-out', at('tls.csr'), '-subj', '/CN=test server');
  const names = [address].flat().map((name) => `${/^[0-9.]+$/.test(name) ? 'IP' : 'DNS'}:${name}`);
  await writeFile(at('names'), `subjectAltName=${names.join(',')}\n`);
  const by = ['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-CAcreateserial'];
  await openssl(
    'x509',
    '-req',
    '-in',
    at('tls.csr'),
    ...by,
    '-days',
    '2',
    '-extfile',
    at('names'),
    '-out',
    at('tls.crt'),
  );
  const read = (name: string): Promise<string> => readFile(at(name), 'utf8');
  return { ca: await read('ca.crt'), cert: await read('tls.crt'), key: await read('tls.key') };
}
