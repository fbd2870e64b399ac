/** The address of this machine that pods of the test cluster reach. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { registryHost } from './cluster.ts';

/** The address of this machine on its route to the node. */
export async function hostAddress(): Promise<string> {
  const [node = ''] = registryHost().split(':');
  const { stdout } = await promisify(execFile)('ip', ['-o', 'route', 'get', node]);
  const address = / src (\S+)/.exec(stdout)?.[1];
  if (address === undefined) throw new Error(`no way to ${node}: ${stdout}`);
  return address;
}
