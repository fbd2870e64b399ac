/**
 * Writes instructions that Kaniko, buildah and docker can all build: no heredocs, no mounts, no BuildKit syntax. Text
 * from the tree (file names, scripts) is encoded as JSON or quoted, so that it cannot become an instruction.
 */
import { type PlanCommand, misfit } from '../plan.ts';

/** Returns a `COPY` of files into a folder; `to` ends with `/`. */
export function copy(paths: readonly string[], to: string, from?: string): string {
  const isPlain = [...paths, to].every((path) => /^[\w@./-]+$/.test(path));
  const source = from === undefined ? '' : `--from=${from} `;
  return isPlain ? `COPY ${source}${[...paths, to].join(' ')}` : `COPY ${source}${exec([...paths, to])}`;
}

/** Returns one `COPY` per folder, since a single one would put all files into the same folder. */
export function copiesByFolder(paths: readonly string[]): string[] {
  const folders = new Map<string, string[]>();
  for (const path of paths) {
    const folder = path.includes('/') ? `./${path.slice(0, path.lastIndexOf('/'))}/` : './';
    folders.set(folder, [...(folders.get(folder) ?? []), path]);
  }
  return [...folders].map(([folder, inside]) => copy(inside, folder));
}

/** Returns the exec form: without a shell between the runtime and the app, SIGTERM reaches the app. */
export function exec(argv: readonly string[]): string {
  return `[${argv.map((word) => JSON.stringify(word)).join(', ')}]`;
}

/** Returns a `RUN` in shell form; several commands share a layer. */
export function run(...commands: readonly (readonly string[])[]): string {
  return `RUN ${commands.map(shellText).join(' && ')}`;
}

/** Returns the commands as instructions; `WORKDIR` changes for those that run in a folder of the tree. */
export function runAll(commands: readonly PlanCommand[]): string[] {
  const lines: string[] = [];
  let folder = '';
  const enter = (next: string): void => {
    if (next !== folder) lines.push(workdir(next));
    folder = next;
  };
  for (const { words, in: next = '', only } of commands) {
    if (only === 'process') continue;
    enter(next);
    lines.push(run(words));
  }
  enter('');
  return lines;
}

export function workdir(folder: string): string {
  return folder === '' ? 'WORKDIR /app' : `WORKDIR ${escaped(`/app/${folder}`)}`;
}

/** Returns an `ENV` of the variables; nothing for none. */
export function env(variables: Readonly<Record<string, string>>): string[] {
  const entries = Object.entries(variables);
  return entries.length === 0 ? [] : [`ENV ${entries.map(([key, value]) => `${key}=${escaped(value)}`).join(' ')}`];
}

/** Quotes a value for `ENV` and `WORKDIR`, which expand `$`. A reference to PATH is meant. */
function escaped(value: string): string {
  if (/^[\w@%+:,./*-]*(\$PATH)?$/.test(value)) return value;
  return `"${oneLine(value).replaceAll(/["\\$]/g, '\\$&')}"`;
}

/** Returns the text for a shell. `sh -c TEXT` is the text itself, since `RUN` is a shell already. */
function shellText(words: readonly string[]): string {
  const [program, flag, script, ...rest] = words;
  if (program === 'sh' && flag === '-c' && script !== undefined && rest.length === 0) {
    return script.includes('\n') ? words.map(quoted).join(' ') : script;
  }
  return words.map(quoted).join(' ');
}

/** Quotes a word for a shell where that is needed. */
export function quoted(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  return `'${oneLine(word).replaceAll("'", `'\\''`)}'`;
}

/** A line break would start a new instruction. */
function oneLine(text: string): string {
  if (/\p{Cc}/u.test(text)) throw misfit(`${JSON.stringify(text)} has a line break or another control character in it`);
  return text;
}
