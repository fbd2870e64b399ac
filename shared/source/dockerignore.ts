/** What `.dockerignore` of a folder leaves out, read as Docker reads it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import dockerignore from '@balena/dockerignore';
import { sourceInvalid } from './limits.ts';

export interface Excludes {
  /** @param path relative to the folder. */
  ignores(path: string): boolean;
  /** Some pattern begins with `!`: in a folder that is left out there may be files that are not. */
  readonly hasExceptions: boolean;
}

const maxBytes = 64 * 1024;
/** As Docker has it: a build needs them, also where its image must not hold them. */
const alwaysKept = ['Dockerfile', '.dockerignore'];

/**
 * @param keep the Dockerfile of the app, where it has another name.
 * @throws AppError source_invalid; errors of the file system.
 */
export async function readDockerignore(root: string, keep: readonly string[] = []): Promise<Excludes> {
  const text = await readFile(join(root, '.dockerignore'), 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  });
  if (text.length > maxBytes) throw sourceInvalid('.dockerignore', `is larger than ${maxBytes} bytes`);
  return parseDockerignore(text, keep);
}

/** The same of a text. */
export function parseDockerignore(text: string, keep: readonly string[] = []): Excludes {
  const patterns = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const rules = dockerignore.default({ ignorecase: false }).add(patterns);
  const kept = new Set([...alwaysKept, ...keep]);
  const inKept = [...kept].some((path) => path.includes('/'));
  return {
    ignores: (path) => !kept.has(path) && rules.ignores(path),
    hasExceptions: inKept || patterns.some((pattern) => pattern.trimStart().startsWith('!')),
  };
}
