/** Loads a TOML configuration, overridden by the environment, and reports every problem in it at once. */
import { readFileSync, statSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import type { z } from 'zod';
import type { ErrorCode } from '../error-codes.ts';
import { AppError } from '../errors.ts';
import { type Environment, readEnvironment } from './environment.ts';
import { type Problem, describeIssue, formatPath, problemsError, valueAt } from './problems.ts';
import { schemaKeys } from './schema-keys.ts';
import { type TomlPositions, tomlPositions } from './toml-positions.ts';

/** The size limit in bytes of a configuration, and of a file that contains a value. */
const maxFileBytes = 1_048_576;

export interface LoadConfigOptions<S extends z.ZodType> {
  readonly schema: S;
  readonly text: string;
  /** The name of the text in messages. */
  readonly file: string;
  /** `HOLDFAST_A_B` sets the key a.b; `HOLDFAST_A_B_FILE` names a file that contains its value. */
  readonly env: Environment;
  /** Reads a file; the default is `readTextFile`. */
  readonly readFile?: (path: string) => string;
  /** The code of the error; the default is config_invalid. */
  readonly code?: ErrorCode;
}

export type Report = (path: readonly PropertyKey[], message: string) => void;

/** Converts a validated configuration to what the program uses. It may report more problems, such as a missing file. */
type Resolve<S extends z.ZodType, T> = (value: z.output<S>, report: Report) => T;

export function loadConfig<S extends z.ZodType>(options: LoadConfigOptions<S>): z.output<S>;
export function loadConfig<S extends z.ZodType, T>(options: LoadConfigOptions<S>, resolve: Resolve<S, T>): T;

/** @throws AppError config_invalid (or `code`), with one line per problem: `file:line:column: key: what to do`. */
export function loadConfig<S extends z.ZodType, T>(options: LoadConfigOptions<S>, resolve?: Resolve<S, T>): unknown {
  const { schema, text, file, code = 'config_invalid' } = options;
  const raw = parseToml(text, file, code);
  const keys = schemaKeys(schema);
  const environment = readEnvironment(keys, options.env, options.readFile ?? readTextFile);
  for (const { path, value } of environment.values) setAt(raw, path, value);

  const problems: Problem[] = [...environment.problems];
  const sources = new Map(environment.values.map(({ path, variable }) => [formatPath(path), variable]));
  let positions: TomlPositions | undefined;
  const report: Report = (path, message) => {
    positions ??= tomlPositions(text);
    const key = formatPath(path);
    const variable = sources.get(key);
    const position = positions.find(path);
    const inFile = position === undefined ? file : `${file}:${position.line}:${position.column}`;
    problems.push({ key, message, place: variable === undefined ? inFile : `environment variable ${variable}` });
  };

  const result = schema.safeParse(raw);
  for (const issue of result.error?.issues ?? []) {
    for (const { path, message } of describeIssue(issue, valueAt(raw, issue.path), keys)) report(path, message);
  }
  const isSound = result.success && problems.length === 0;
  const resolved = isSound && resolve !== undefined ? resolve(result.data, report) : result.data;
  if (problems.length > 0) throw problemsError(code, file, problems);
  return resolved;
}

/** @throws Error if the file cannot be read or is larger than 1 MiB. */
export function readTextFile(path: string): string {
  const { size } = statSync(path);
  if (size > maxFileBytes) throw new Error(`the file has ${size} bytes, at most ${maxFileBytes} are read`);
  return readFileSync(path, 'utf8');
}

function parseToml(text: string, file: string, code: ErrorCode): Record<string, unknown> {
  if (Buffer.byteLength(text) > maxFileBytes) throw new AppError(code, `${file}: is over ${maxFileBytes} bytes`);
  try {
    return parse(text, { unsafeKeyBehaviour: 'throw', maxDepth: 64 });
  } catch (error) {
    const place = error instanceof TomlError ? `${file}:${error.line}:${error.column}` : file;
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    const message = `not valid TOML: ${reason.replace(/^Invalid TOML document: /, '')}`;
    throw problemsError(code, file, [{ key: '', place, message }]);
  }
}

/** Sets a value, creating missing tables. If another value is in the way, it stays, and the schema rejects it. */
function setAt(root: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let table = root;
  for (const part of path.slice(0, -1)) {
    table[part] ??= {};
    const next = table[part];
    if (typeof next !== 'object' || next === null || Array.isArray(next)) return;
    table = next as Record<string, unknown>;
  }
  table[path.at(-1) ?? ''] = value;
}
