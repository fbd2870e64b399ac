/**
 * Namespaces of its own for each program of a build, where the builder may make them: when the program ends, whatever way, the
 * kernel ends every process it has left and takes every mount away. Elsewhere the process group has to do.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

const unshare = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'] as const;

/** @returns what to put before a command; nothing where namespaces cannot be made. */
export async function findSandbox(isRoot: boolean): Promise<readonly string[]> {
  // Without root, buildah and podman make user namespaces themselves, which they could not inside of ours.
  if (!isRoot) return [];
  const [file, ...args] = unshare;
  try {
    await run(file, [...args, 'true'], { timeout: 5_000 });
    return unshare;
  } catch {
    return [];
  }
}
