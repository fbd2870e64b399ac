/** Turns zod issues about a configuration into sentences that name the key, its place and what to do. */
import type { z } from 'zod';
import type { ErrorCode } from '../error-codes.ts';
import { AppError } from '../errors.ts';
import type { SchemaKey } from './schema-keys.ts';

export interface Problem {
  /** The key, such as `system.listen_port` or `app[0].path`; empty for the file as a whole. */
  readonly key: string;
  /** Where the value is: `holdfast.toml:3:1` or `environment variable HOLDFAST_SYSTEM_LISTEN_PORT`. */
  readonly place: string;
  readonly message: string;
}

/** At most this many problems are listed; the others are only counted. */
const maxProblems = 20;

/** Combines all problems into one error. `data.problems` has them as objects. */
export function problemsError(code: ErrorCode, what: string, problems: readonly Problem[]): AppError {
  const lines = problems.slice(0, maxProblems).map(({ key, place, message }) => {
    return `${place}: ${key === '' ? '' : `${key}: `}${message}`;
  });
  const left = problems.length - lines.length;
  if (left > 0) lines.push(`… and ${left} more`);
  const text = lines.length === 1 ? (lines[0] ?? '') : [`${what}: ${problems.length} problems`, ...lines].join('\n  ');
  return new AppError(code, text, { data: { problems: problems.slice(0, maxProblems) } });
}

/** @returns the path and message of each problem that the issue describes. */
export function describeIssue(
  issue: z.core.$ZodIssue,
  value: unknown,
  keys: readonly SchemaKey[],
): { readonly path: readonly PropertyKey[]; readonly message: string }[] {
  if (issue.code === 'unrecognized_keys') {
    const known = keysIn(keys, issue.path);
    return issue.keys.map((key) => ({ path: [...issue.path, key], message: unknownKey(key, known) }));
  }
  return [{ path: issue.path, message: messageOf(issue, value) }];
}

function messageOf(issue: z.core.$ZodIssue, value: unknown): string {
  const isMissing = value === undefined;
  switch (issue.code) {
    case 'invalid_type':
      return isMissing ? 'is required' : `must be ${article(issue.expected)}, not ${article(typeOf(value))}`;
    case 'invalid_value': {
      const options = issue.values.map((option) => JSON.stringify(option));
      if (isMissing) return `is required: one of ${options.join(', ')}`;
      const near = closest(typeof value === 'string' ? value : '', issue.values.map(String));
      const hint = near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`;
      return `must be one of ${options.join(', ')}${hint}`;
    }
    case 'invalid_union': {
      if (isMissing) return 'is required';
      if (issue.message !== 'Invalid input') return issue.message;
      const expected = issue.errors.flatMap((list) =>
        list.flatMap((inner) => (inner.code === 'invalid_type' && inner.path.length === 0 ? [inner.expected] : [])),
      );
      const isWrongType = expected.length === issue.errors.length;
      if (isWrongType)
        return `must be ${[...new Set(expected)].map(article).join(' or ')}, not ${article(typeOf(value))}`;
      const inner = issue.errors.flat().find((one) => one.code !== 'invalid_type');
      return inner === undefined ? 'has the wrong form' : messageOf(inner, value);
    }
    case 'too_small':
      if (!issue.message.startsWith('Too small')) return issue.message;
      return `must be ${bound('at least', issue.minimum, issue.origin)}`;
    case 'too_big':
      if (!issue.message.startsWith('Too big')) return issue.message;
      return `must be ${bound('at most', issue.maximum, issue.origin)}`;
    case 'invalid_key':
      return issue.issues[0]?.message ?? 'is not a valid key';
    case 'invalid_format':
    case 'invalid_element':
    case 'not_multiple_of':
    case 'unrecognized_keys':
    case 'custom':
      return issue.message;
  }
}

function bound(words: string, limit: number | bigint, origin: string): string {
  if (origin === 'string') return `${words} ${limit} characters long`;
  if (origin === 'array') return `${words} ${limit} entries long`;
  return `${words} ${limit}`;
}

function unknownKey(key: string, known: readonly string[]): string {
  const near = closest(key, known);
  if (near !== undefined) return `is not a known key; did you mean ${near}?`;
  if (known.length === 0 || known.length > 30) return 'is not a known key; remove it';
  return `is not a known key; remove it (known here: ${known.join(', ')})`;
}

function keysIn(keys: readonly SchemaKey[], path: readonly PropertyKey[]): string[] {
  const table = path.map((part) => (typeof part === 'number' ? '[]' : String(part)));
  const names = keys
    .filter((key) => key.path.length === table.length + 1 && table.every((part, index) => key.path[index] === part))
    .map((key) => key.path.at(-1) ?? '');
  return [...new Set(names)];
}

/** Formats a path: `['app', 0, 'path']` becomes `app[0].path`. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else {
      const name = String(part);
      const shown = /^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name);
      text += text === '' ? shown : `.${shown}`;
    }
  }
  return text;
}

export function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const part of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, part)) return undefined;
    current = (current as Record<PropertyKey, unknown>)[part];
  }
  return current;
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (value instanceof Date) return 'date';
  return typeof value;
}

const words: Readonly<Record<string, string>> = {
  string: 'a string in quotes',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a table',
  record: 'a table',
  date: 'a date',
};

function article(type: string): string {
  return words[type] ?? type;
}

/** Returns the closest candidate within three edits (fewer for short words), if any. */
function closest(word: string, candidates: readonly string[]): string | undefined {
  const limit = word.length < 4 ? 1 : word.length < 8 ? 2 : 3;
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) > limit || word.length > 64) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Computes the Levenshtein distance, keeping one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
