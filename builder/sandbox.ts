/**
 * What programs of a build are started by, so that nothing of them outlives its time. With namespaces of their own, the kernel ends
 * every process they have left and takes every mount away when they end, in whatever way; and they end when the builder does.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The kernel ends the program when the builder dies, even by SIGKILL. */
const withBuilder = ['setpriv', '--pdeathsig', 'KILL'] as const;
const ownNamespaces = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'] as const;

/** @returns what to put before a command, the best that can be had here; nothing at worst: then the process group has to do. */
export async function findSandbox(isRoot: boolean): Promise<readonly string[]> {
  // Without root, buildah and podman make user namespaces themselves, which they could not inside of ours.
  const prefixes = isRoot ? [[...withBuilder, ...ownNamespaces], ownNamespaces, withBuilder] : [withBuilder];
  for (const prefix of prefixes) {
    const [file = '', ...args] = prefix;
    try {
      await run(file, [...args, 'true'], { timeout: 5_000 });
      return prefix;
    } catch {
      // The next one asks for less.
    }
  }
  return [];
}
