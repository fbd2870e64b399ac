/** Reads the `.dockerignore` of a folder with Docker's semantics. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import dockerignore from '@balena/dockerignore';
import { sourceInvalid } from './limits.ts';

export interface Excludes {
  /** Whether the path is excluded. @param path relative to the folder. */
  ignores(path: string): boolean;
  /** Whether some pattern begins with `!`, so that an excluded folder may contain files that are included. */
  readonly hasExceptions: boolean;
}

const maxBytes = 64 * 1024;
/** Docker always keeps these: a build needs them even if its image must not contain them. */
const alwaysKept = ['Dockerfile', '.dockerignore'];

/**
 * @param keep the Dockerfile of the app, if it has another name.
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

/** Parses the text of a `.dockerignore`. */
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
