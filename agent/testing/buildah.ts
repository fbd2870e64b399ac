/** Helpers for tests with a real buildah: a base image made of this machine's programs, and a check for what a builder leaves behind. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readFile, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { TestRegistry } from './registry.ts';
import { folderOf } from './builder.ts';

const run = promisify(execFile);

/** Processes, mounts and folders that name the builder's folder. */
export async function leftovers(dataFolder: string): Promise<string[]> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8'))
    .split('\n')
    .filter((line) => line.includes(dataFolder));
  const processes: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (command.includes(dataFolder)) processes.push(command.replaceAll('\0', ' '));
  }
  const work = await readdir(join(dataFolder, 'w')).catch(() => []);
  return [...mounts, ...processes, ...work.filter((name) => name.startsWith('b-'))];
}

/** Pushes a base image made of this machine's shell as `base:1`. */
export async function pushBase(t: TestContext, registry: TestRegistry): Promise<string> {
  const image = `${registry.host}/team/base:1`;
  const folder = await folderOf(t, {});
  const programs = ['/bin/sh', '/bin/sleep', '/bin/cat'];
  const { stdout } = await run('ldd', programs);
  const libraries = stdout.match(/\/\S+\.so\S*/g) ?? [];
  for (const path of new Set([...programs, ...libraries])) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await copyFile(path, join(folder, path));
  }
  const roots = ['--root', join(folder, 'store'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs'];
  const alone = ['--mount', '--fork', 'buildah', ...roots];
  const { stdout: container } = await run('unshare', [...alone, 'from', 'scratch']);
  await run('unshare', [...alone, 'copy', container.trim(), join(folder, 'bin'), '/bin']);
  await run('unshare', [...alone, 'copy', container.trim(), join(folder, 'lib'), '/lib']);
  await run('unshare', [...alone, 'copy', container.trim(), join(folder, 'lib64'), '/lib64']).catch(() => undefined);
  await run('unshare', [...alone, 'commit', container.trim(), 'base']);
  await run('unshare', [...alone, 'push', '--tls-verify=false', 'base', `docker://${image}`]);
  return image;
}
