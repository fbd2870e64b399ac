/**
 * Reads configuration keys from the environment: `HOLDFAST_A_B` sets the key a.b, and `HOLDFAST_A_B_FILE` names a file
 * that contains its value. Keys inside `[[tables]]` cannot be set this way, since array entries have no name.
 */
import { type Problem, formatPath } from './problems.ts';
import type { SchemaKey } from './schema-keys.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export function variableOf(path: readonly string[]): string {
  return `HOLDFAST_${path.join('_').toUpperCase()}`;
}

/** Returns the keys that the environment can set: single values and lists of values. */
export function environmentKeys(keys: readonly SchemaKey[]): SchemaKey[] {
  return keys.filter((key) => key.kind !== 'table' && key.kind !== 'tables' && !key.path.includes('[]'));
}

interface EnvironmentValue {
  readonly path: readonly string[];
  readonly variable: string;
  readonly value: unknown;
}

/** Returns the values from the environment, converted to the type of each key. An empty variable counts as unset. */
export function readEnvironment(
  keys: readonly SchemaKey[],
  env: Environment,
  readFile: (path: string) => string,
): { readonly values: EnvironmentValue[]; readonly problems: Problem[] } {
  const values: EnvironmentValue[] = [];
  const problems: Problem[] = [];
  const settable = environmentKeys(keys);
  const names = new Set(settable.map((key) => variableOf(key.path)));
  for (const key of settable) {
    const direct = variableOf(key.path);
    const byFile = `${direct}_FILE`;
    // If `password` and `password_file` are both keys, the `_FILE` variable belongs to the key of that name.
    const hasFile = !names.has(byFile) && isSet(env[byFile]);
    const variable = hasFile ? byFile : direct;
    const problem = (message: string): void => {
      problems.push({ key: formatPath(key.path), place: `environment variable ${variable}`, message });
    };
    if (hasFile && isSet(env[direct])) {
      problem(`${direct} is set too; set one of them`);
      continue;
    }
    const named = env[variable];
    if (!isSet(named)) continue;
    let text = named;
    if (hasFile) {
      try {
        text = readFile(named).replace(/\r?\n$/, '');
      } catch (error) {
        problem(`cannot read ${named}: ${error instanceof Error ? error.message : String(error)}`);
        continue;
      }
    }
    const value = coerce(key, text);
    if (value === undefined) problem(`must be ${inWords[key.kind]}`);
    else values.push({ path: key.path, variable, value });
  }
  return { values, problems };
}

const inWords: Readonly<Record<SchemaKey['kind'], string>> = {
  string: 'text',
  strings: 'text, with commas between the entries',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  table: 'a table',
  tables: 'tables',
};

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== '';
}

/** Converts the text to the key's type. @returns undefined if that is not possible. */
function coerce(key: SchemaKey, text: string): unknown {
  if (key.kind === 'strings') {
    return text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
  }
  if (key.kind === 'boolean') return text === 'true' ? true : text === 'false' ? false : undefined;
  if (key.kind === 'string') return text;
  const value = text.trim() === '' ? Number.NaN : Number(text);
  const isAllowed = key.kind === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value);
  return isAllowed ? value : undefined;
}
