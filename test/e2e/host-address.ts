/** The address of this machine that pods of the test cluster reach. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { registryHost } from './cluster.ts';

/** Where the way to the node begins. */
export async function hostAddress(): Promise<string> {
  const [node = ''] = registryHost().split(':');
  const { stdout } = await promisify(execFile)('ip', ['-o', 'route', 'get', node]);
  const address = / src (\S+)/.exec(stdout)?.[1];
  if (address === undefined) throw new Error(`no way to ${node}: ${stdout}`);
  return address;
}
