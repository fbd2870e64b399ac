/**
 * Keeps the programs of a build from leaving anything behind. In namespaces of their own, the kernel ends all their processes and
 * removes all their mounts when they end, however they end; and it ends them when the builder dies.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Makes the kernel end the program when the builder dies, even by SIGKILL. */
const withBuilder = ['setpriv', '--pdeathsig', 'KILL'] as const;
const ownNamespaces = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'] as const;

/** @returns the strongest command prefix that works on this machine. It may be empty: then only the process group is ended. */
export async function findSandbox(isRoot: boolean): Promise<readonly string[]> {
  // Without root, buildah and podman make user namespaces themselves, which fails inside of ours.
  const prefixes = isRoot ? [[...withBuilder, ...ownNamespaces], ownNamespaces, withBuilder] : [withBuilder];
  for (const prefix of prefixes) {
    const [file = '', ...args] = prefix;
    try {
      await run(file, [...args, 'true'], { timeout: 5_000 });
      return prefix;
    } catch {
      // The next prefix needs less.
    }
  }
  return [];
}
