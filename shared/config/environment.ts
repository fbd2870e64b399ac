/**
 * Environment over a configuration: `HOLDFAST_A_B` sets the key a.b, `HOLDFAST_A_B_FILE` names a file that holds its
 * value. Keys inside `[[tables]]` are not set this way: they have no name of their own.
 */
import { type Problem, formatPath } from './problems.ts';
import type { SchemaKey } from './schema-keys.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The variable that sets the key. */
export function variableOf(path: readonly string[]): string {
  return `HOLDFAST_${path.join('_').toUpperCase()}`;
}

/** The keys that the environment can set: values, and lists of values. */
export function environmentKeys(keys: readonly SchemaKey[]): SchemaKey[] {
  return keys.filter((key) => key.kind !== 'table' && key.kind !== 'tables' && !key.path.includes('[]'));
}

interface EnvironmentValue {
  readonly path: readonly string[];
  readonly variable: string;
  readonly value: unknown;
}

/** What the environment sets, in the type each key has; an empty variable counts as not set. */
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
    // `password` and `password_file` both are keys: the variable then belongs to the key of that name.
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

/** undefined when the text cannot be of the key's type. */
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
