/** Parts that the configurations of the router and the agent share. */
import { createHash } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import type { Environment } from './environment.ts';
import { readTextFile } from './load.ts';

/** A TCP port. Port 0 selects a free port, which tests use. */
export const port = z.int().min(0).max(65_535);
export const logLevel = z.enum(['debug', 'info', 'warn', 'error', 'silent']);
export const listenHost = z.string().min(1).max(253);

/** A shorter token could be guessed. */
const minTokenLength = 16;

/** A bearer token with the characters that RFC 6750 §2.1 allows. */
export const tokenValue = z
  .string()
  .min(minTokenLength)
  .max(512)
  .regex(/^[A-Za-z0-9._~+/=-]+$/, 'must be made of A-Z, a-z, 0-9 and . _ ~ + / = -');

/** The form in which tokens are kept and compared: SHA-256 in hex. */
export function tokenDigest(value: string): string {
  return createHash('sha256').update(value).digest('hex');
}

/** The source of a process's configuration: a file, the environment, or both. */
export interface ConfigSource {
  /** The path of the file; undefined if only defaults and the environment apply. */
  readonly file: string | undefined;
  readonly env: Environment;
  /** Reads a file, by default up to 1 MiB from disk. @throws if the file cannot be read. */
  readonly readFile?: (path: string) => string;
}

/** A source whose file has been read: the input of `loadConfig`, and access to other files that it names. */
export interface OpenSource {
  readonly text: string;
  readonly file: string;
  readonly env: Environment;
  readonly readFile: (path: string) => string;
  /** Makes a path absolute; relative paths start at the folder of the configuration file. */
  readonly resolvePath: (path: string) => string;
}

/** Reads the file of a source. @throws AppError config_invalid if it cannot be read. */
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

/** Reads a secret from a file, without the final newline. @returns undefined, after `fail`, if there is none. */
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

/**
 * Returns the token or the validated content of its file; of two tokens in the file, the first.
 * @returns '' after `fail` if there is none.
 */
export function readToken(
  source: OpenSource,
  given: { readonly value: string | undefined; readonly file: string | undefined },
  fail: (message: string) => void,
): string {
  if (given.file === undefined) return given.value ?? '';
  return readTokenFile(source, given.file, fail)[0] ?? '';
}

/** Returns the tokens of a file. @returns none after `fail` if it cannot be used. */
export function readTokenFile(source: OpenSource, path: string, fail: (message: string) => void): string[] {
  const text = readSecret(source, path, fail);
  if (text === undefined) return [];
  try {
    return parseTokenFile(text);
  } catch (error) {
    fail(messageOf(error));
    return [];
  }
}

/**
 * Returns the tokens of a file, one in each line: one, or two while one replaces the other.
 * @throws AppError config_invalid, saying what is wrong with the file.
 */
export function parseTokenFile(text: string): string[] {
  const lines = text.split(/\r?\n/).filter((line) => line !== '');
  if (lines.length === 0) throw new AppError('config_invalid', 'the file is empty');
  if (lines.length > 2)
    throw new AppError('config_invalid', 'the file has more than two lines; it may hold two tokens');
  for (const line of lines) {
    const problem = tokenValue.safeParse(line).error?.issues[0];
    if (problem?.code === 'too_small')
      throw new AppError('config_invalid', `the token must have at least ${minTokenLength} characters`);
    if (problem !== undefined) throw new AppError('config_invalid', `the token ${problem.message}`);
  }
  return lines;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
