/** What the configurations of router and agent have in common. */
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import type { Environment } from './environment.ts';
import { readTextFile } from './load.ts';

/** 0 lets the system choose, which tests use. */
export const port = z.int().min(0).max(65_535);
export const logLevel = z.enum(['debug', 'info', 'warn', 'error', 'silent']);
export const listenHost = z.string().min(1).max(253);

/** Shorter ones can be guessed. */
const minTokenLength = 16;

/** A bearer token: what RFC 6750 §2.1 allows. */
export const tokenValue = z
  .string()
  .min(minTokenLength)
  .max(512)
  .regex(/^[A-Za-z0-9._~+/=-]+$/, 'must be made of A-Z, a-z, 0-9 and . _ ~ + / = -');

/** A process's own configuration: named file, environment, or both. */
export interface ConfigSource {
  /** undefined: defaults and environment. */
  readonly file: string | undefined;
  readonly env: Environment;
  /** @throws when the file cannot be read. Default: up to 1 MiB from disk. */
  readonly readFile?: (path: string) => string;
}

/** A source whose file is read: what `loadConfig` takes, and the way to other files that the configuration names. */
export interface OpenSource {
  readonly text: string;
  readonly file: string;
  readonly env: Environment;
  readonly readFile: (path: string) => string;
  /** Absolute; a relative path is meant from the folder of the configuration file. */
  readonly resolvePath: (path: string) => string;
}

/** @throws AppError config_invalid when the file cannot be read. */
export function openSource({ file, env, readFile = readTextFile }: ConfigSource): OpenSource {
  const folder = file === undefined ? '.' : dirname(file);
  const resolvePath = (path: string): string => resolve(folder, path);
  if (file === undefined) return { text: '', file: 'configuration', env, readFile, resolvePath };
  try {
    return { text: readFile(file), file, env, readFile, resolvePath };
  } catch (error) {
    throw new AppError('config_invalid', `${file}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** A secret from a file, without the line end that editors add. @returns undefined, after `fail`, when there is none. */
export function readSecret(source: OpenSource, path: string, fail: (message: string) => void): string | undefined {
  try {
    const value = source.readFile(source.resolvePath(path)).replace(/\r?\n$/, '');
    if (value !== '') return value;
    fail('the file is empty');
  } catch (error) {
    fail(`the file cannot be read: ${messageOf(error)}`);
  }
  return undefined;
}

/** The token itself, or the content of its file, checked. @returns '' after `fail` when there is none. */
export function readToken(
  source: OpenSource,
  given: { readonly value: string | undefined; readonly file: string | undefined },
  fail: (message: string) => void,
): string {
  if (given.file === undefined) return given.value ?? '';
  const value = readSecret(source, given.file, fail);
  if (value === undefined) return '';
  const problem = tokenValue.safeParse(value).error?.issues[0];
  if (problem?.code === 'too_small') fail(`the token must have at least ${minTokenLength} characters`);
  else if (problem !== undefined) fail(`the token ${problem.message}`);
  return value;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
