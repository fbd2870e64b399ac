/** Reads the `.dockerignore` of a folder with Docker's semantics: patterns are anchored at the root, and the last match wins. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sourceInvalid } from './limits.ts';

export interface Excludes {
  /** Whether the path is excluded. @param path relative to the folder. */
  ignores(path: string): boolean;
  /** Whether an exception (`!…`) may include something below an excluded folder. */
  mayHoldIncluded(folder: string): boolean;
  /** Whether an exception names this file or folder: a segment of its pattern is exactly the name. */
  hasExceptionFor(name: string): boolean;
}

interface Rule {
  readonly isException: boolean;
  readonly regexp: RegExp;
  readonly segments: readonly string[];
  /** The patterns of the segments; undefined for `**`. */
  readonly segmentRegexps: readonly (RegExp | undefined)[];
}

export const dockerignoreFile = '.dockerignore';
const maxBytes = 64 * 1024;
const maxRules = 2_000;
/** Docker always keeps these: a build needs them even if its image must not contain them. */
const alwaysKept = ['Dockerfile', dockerignoreFile];

/**
 * @param keep the Dockerfile of the app, if it has another name. A `<Dockerfile>.dockerignore` beside it replaces the one of the folder.
 * @returns undefined if the folder has no such file.
 * @throws AppError source_invalid; errors of the file system.
 */
export async function readDockerignore(root: string, keep: readonly string[] = []): Promise<Excludes | undefined> {
  for (const file of [...keep.map((dockerfile) => `${dockerfile}${dockerignoreFile}`), dockerignoreFile]) {
    const text = await readFile(join(root, file), 'utf8').catch((error: unknown) => {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw sourceInvalid(file, `cannot be read (${code})`, error);
    });
    if (text === undefined) continue;
    if (text.length > maxBytes) throw sourceInvalid(file, `is larger than ${maxBytes} bytes`);
    return parseDockerignore(text, { keep: [...keep, file], file });
  }
  return undefined;
}

/** Parses the text of a `.dockerignore`. @throws AppError source_invalid, naming the line of a pattern that has no meaning. */
export function parseDockerignore(
  text: string,
  { keep = [], file = dockerignoreFile }: { readonly keep?: readonly string[]; readonly file?: string } = {},
): Excludes {
  const rules = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .flatMap((line, index) => ruleOf(line, () => `${file}:${index + 1}`) ?? []);
  if (rules.length > maxRules) throw sourceInvalid(file, `has more than ${maxRules} patterns`);
  return new RuleExcludes(rules, new Set([...alwaysKept, ...keep]));
}

class RuleExcludes implements Excludes {
  readonly #rules: readonly Rule[];
  readonly #exceptions: readonly Rule[];
  readonly #kept: ReadonlySet<string>;
  /** Which rules match a folder or one above it. A rule that matches a folder matches everything below it. */
  readonly #folders = new Map<string, readonly boolean[]>();

  constructor(rules: readonly Rule[], kept: ReadonlySet<string>) {
    this.#rules = rules;
    this.#exceptions = rules.filter(({ isException }) => isException);
    this.#kept = kept;
  }

  ignores(path: string): boolean {
    if (this.#kept.has(path)) return false;
    const above = this.#matchesOfFolder(parentOf(path));
    const last = this.#rules.findLast(({ regexp }, index) => above?.[index] === true || regexp.test(path));
    return last !== undefined && !last.isException;
  }

  mayHoldIncluded(folder: string): boolean {
    if ([...this.#kept].some((path) => path.startsWith(`${folder}/`))) return true;
    const names = folder.split('/');
    return this.#exceptions.some(({ segmentRegexps }) => {
      for (const [index, name] of names.entries()) {
        if (index >= segmentRegexps.length) return false;
        const segment = segmentRegexps[index];
        if (segment === undefined) return true;
        if (!segment.test(name)) return false;
      }
      return segmentRegexps.length > names.length;
    });
  }

  hasExceptionFor(name: string): boolean {
    return this.#exceptions.some(({ segments }) => segments.includes(name));
  }

  /** @returns undefined for the root, which no rule matches. */
  #matchesOfFolder(folder: string): readonly boolean[] | undefined {
    if (folder === '') return undefined;
    let matches = this.#folders.get(folder);
    if (matches === undefined) {
      const above = this.#matchesOfFolder(parentOf(folder));
      matches = this.#rules.map(({ regexp }, index) => above?.[index] === true || regexp.test(folder));
      this.#folders.set(folder, matches);
    }
    return matches;
  }
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function ruleOf(line: string, place: () => string): Rule | undefined {
  if (line.startsWith('#')) return undefined;
  let pattern = line.trim();
  const isException = pattern.startsWith('!');
  if (isException) pattern = pattern.slice(1).trim();
  const segments = cleanSegments(pattern);
  if (segments.length === 0) {
    if (isException && pattern === '') throw sourceInvalid(place(), 'has an exception (!) without a pattern');
    return undefined;
  }
  try {
    return {
      isException,
      segments,
      regexp: new RegExp(`^${pathPattern(segments)}$`, 'su'),
      segmentRegexps: segments.map((one) => (one.includes('**') ? undefined : new RegExp(`^${glob(one)}$`, 'su'))),
    };
  } catch (error) {
    throw sourceInvalid(place(), `is not a valid pattern: ${line.trim()}`, error);
  }
}

/** Removes empty and `.` segments, and resolves `..`, as Go's filepath.Clean does; `..` cannot lead above the root. */
function cleanSegments(pattern: string): string[] {
  const segments: string[] = [];
  for (const segment of pattern.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  return segments;
}

/** `**` stands for any number of segments, none included; at the end, for everything below. */
function pathPattern(segments: readonly string[]): string {
  return segments
    .map((segment, index) => {
      const isLast = index === segments.length - 1;
      if (segment === '**') return isLast ? '.*' : '(?:.*/)?';
      return `${glob(segment)}${isLast ? '' : '/'}`;
    })
    .join('');
}

/** Translates one segment with the characters of Go's filepath.Match: `*`, `?`, `[a-z]`, `[^a]` and `\`. @throws SyntaxError */
function glob(segment: string): string {
  let pattern = '';
  for (let at = 0; at < segment.length; at += 1) {
    const char = segment.charAt(at);
    if (char === '*') {
      const isDouble = segment.charAt(at + 1) === '*';
      if (isDouble) at += 1;
      pattern += isDouble && at === segment.length - 1 ? '.*' : isDouble ? '(?:.*/)?' : '[^/]*';
    } else if (char === '?') {
      pattern += '[^/]';
    } else if (char === '[') {
      const end = closingBracket(segment, at);
      pattern += characterClass(segment.slice(at + 1, end));
      at = end;
    } else if (char === '\\') {
      at += 1;
      if (at === segment.length) throw new SyntaxError('a backslash at the end');
      pattern += literal(segment.charAt(at));
    } else {
      pattern += literal(char);
    }
  }
  return pattern;
}

function closingBracket(segment: string, open: number): number {
  for (let at = open + (segment.charAt(open + 1) === '^' ? 3 : 2); at < segment.length; at += 1) {
    if (segment.charAt(at - 1) === '\\' && segment.charAt(at - 2) !== '\\') continue;
    if (segment.charAt(at) === ']') return at;
  }
  throw new SyntaxError('a [ without ]');
}

function characterClass(text: string): string {
  const isNegated = text.startsWith('^');
  const inner = (isNegated ? text.slice(1) : text).replaceAll(/\\(.)/gsu, '$1').replaceAll(/[\]\\^[]/gu, '\\$&');
  return isNegated ? `[^/${inner}]` : `(?!/)[${inner}]`;
}

function literal(char: string): string {
  return char.replace(/[\\^$.*+?()[\]{}|/]/u, '\\$&');
}
