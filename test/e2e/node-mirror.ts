/** What docs/registry-in-cluster.md tells the operator to do on each node, done on the test cluster's one. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { kubectl, registryHost } from './cluster.ts';

/** @param ca of a registry that speaks TLS. @returns what takes it back. */
export async function mirrorOnNode(host: string, nodePort: number, ca?: string): Promise<() => Promise<void>> {
  const folders = join(dirname(process.env['KUBECONFIG'] ?? ''), 'certs.d');
  if (!existsSync(folders))
    throw new Error(`${folders} is not there: the nodes must learn of the registry another way`);
  const folder = join(folders, host);
  await mkdir(folder, { recursive: true });
  if (ca !== undefined) await writeFile(join(folder, 'ca.crt'), ca);
  const mirror = `${ca === undefined ? 'http' : 'https'}://localhost:${nodePort}`;
  const trust = ca === undefined ? '' : `ca = "${join(folder, 'ca.crt')}"\n`;
  // It is `server` too, or containerd would ask the Service's name for what the mirror lacks.
  const hosts = `server = "${mirror}"\n${trust}\n[host."${mirror}"]\n  capabilities = ["pull", "resolve"]\n  ${trust}`;
  await writeFile(join(folder, 'hosts.toml'), hosts);
  return () => rm(folder, { recursive: true });
}

/** Copies an image from the cluster's registry to the chart's own, by its NodePort and with its generated password. */
export async function pushToRelease(
  image: string,
  release: { readonly namespace: string; readonly nodePort: number },
): Promise<void> {
  const secret = JSON.parse(
    await kubectl('get', 'secret', '-n', release.namespace, 'holdfast-registry', '-o', 'json'),
  ) as { data: Record<'username' | 'password', string> };
  const [username, password] = [secret.data.username, secret.data.password].map((value) =>
    Buffer.from(value, 'base64').toString(),
  );
  const address = await kubectl(
    'get',
    'nodes',
    '-o',
    'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}',
  );
  await promisify(execFile)('skopeo', [
    'copy',
    '--quiet',
    '--src-tls-verify=false',
    '--dest-tls-verify=false',
    `--dest-creds=${username}:${password}`,
    `docker://${registryHost()}/library/${image}`,
    `docker://${address}:${release.nodePort}/${image}`,
  ]);
}
