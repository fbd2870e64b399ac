/** Caches that outlive a run, so that its test files and the programs they start load their code fast. */
import { mkdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { userInfo } from 'node:os';

/** tsx keeps the code it has transformed in this folder of TMPDIR. */
export const tsxFolder = `tsx-${process.getuid?.() ?? userInfo().username}`;

/**
 * @param folder TMPDIR of the run, new and empty.
 * @returns what to add to the environment of the run.
 */
export function shareCaches(folder: string): NodeJS.ProcessEnv {
  const caches = resolve('node_modules/.cache');
  const ofTsx = join(caches, 'tsx');
  mkdirSync(ofTsx, { recursive: true });
  symlinkSync(ofTsx, join(folder, tsxFolder));
  return { NODE_COMPILE_CACHE: join(caches, 'holdfast') };
}
