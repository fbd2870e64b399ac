/** Copies trees of many files with cp(1), which takes a third of the time of `fs.cp`. */
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import { onAbort } from '../../../shared/wait/abort.ts';
import { startGuarded } from './guard.ts';
import { readLines } from './log-ring.ts';

/**
 * Copies what is in `from` into the existing folder `to`, over what is there. Links stay links.
 * @throws AppError platform_error; the signal's reason, when nothing is copied any longer.
 */
export async function copyTree(
  from: string,
  to: string,
  { env, signal }: { readonly env: Readonly<Record<string, string>>; readonly signal: AbortSignal },
): Promise<void> {
  signal.throwIfAborted();
  const copy = startGuarded({
    argv: ['cp', '-RPp', `${from}/.`, to],
    cwd: to,
    env,
  });
  let said = '';
  for (const stream of [copy.stdout, copy.stderr]) readLines(stream, (line) => (said ||= line));
  using _listener = onAbort(signal, () => copy.kill('SIGKILL'));
  const exit = await copy.exited;
  await copy.ended;
  signal.throwIfAborted();
  if (exit.kind === 'code' && exit.code === 0) return;
  const why = exit.kind === 'error' ? exit.error.message : said;
  throw new AppError('platform_error', `${from} could not be copied: ${why}`, { phase: 'build' });
}

/** Scripts are short; what is longer is a program. */
const maxScriptBytes = 64 * 1024;

/**
 * Makes the programs of a copy work in the copy. In Python environments their first lines (`#!`) name the interpreter by its path, and what
 * pnpm writes into `node_modules/.bin` names folders to look for modules.
 * @param folders of the tree that may hold either.
 */
export async function movePrograms(folders: readonly string[], from: string, to: string): Promise<void> {
  for (const folder of folders) {
    await rewritePaths(join(to, folder, 'node_modules', '.bin'), from, to);
    for (const name of await readdir(join(to, folder)).catch(() => [])) {
      const venv = join(to, folder, name);
      if (await isFile(join(venv, 'pyvenv.cfg'))) await rewritePaths(join(venv, 'bin'), from, to);
    }
  }
}

async function rewritePaths(folder: string, from: string, to: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    if (!entry.isFile()) continue;
    const { mode, size } = await stat(path);
    if (size > maxScriptBytes) continue;
    const text = await readFile(path, 'latin1');
    if (!text.includes(`${from}/`)) continue;
    // A new file, because the old one could be shared by a hard link that a tool has made.
    await writeFile(`${path}.new`, text.replaceAll(`${from}/`, `${to}/`), { encoding: 'latin1', mode });
    await rename(`${path}.new`, path);
  }
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
