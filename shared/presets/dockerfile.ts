/**
 * Writes Dockerfiles that Kaniko, buildah and docker can all build: no heredocs, no mounts, no BuildKit syntax. Text
 * from the tree (file names, scripts) is encoded as JSON, so that it cannot become an instruction.
 */
import type { PresetTree } from './preset.ts';

/** The name of a preset's Dockerfile in a build; the tree may have its own Dockerfile beside it. */
export const presetDockerfile = 'Dockerfile.holdfast';

export const generatedBy = (preset: string, what: string): string[] => [
  // A line break in a name would start a new instruction.
  `# ${what.replaceAll(/\p{Cc}/gu, '?')}`,
  `# Written by Holdfast's preset "${preset}"; \`holdfast init\` writes it into the folder, to be changed at will.`,
];

/** Returns a `COPY` of files into a folder; `to` ends with `/`. */
export function copy(paths: readonly string[], to: string): string {
  const isPlain = [...paths, to].every((path) => /^[\w@./-]+$/.test(path));
  return isPlain ? `COPY ${[...paths, to].join(' ')}` : `COPY ${exec([...paths, to])}`;
}

/** Returns the exec form: without a shell between the runtime and the app, SIGTERM reaches the app. */
export function exec(argv: readonly string[]): string {
  return `[${argv.map((word) => JSON.stringify(word)).join(', ')}]`;
}

/** Returns a `RUN` in shell form, from fixed or validated words. */
export function run(...commands: readonly (readonly string[])[]): string {
  return `RUN ${commands.map((words) => words.map(quoted).join(' ')).join(' && ')}`;
}

function quoted(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

export function text(lines: readonly (string | undefined)[]): string {
  return `${lines.filter((line) => line !== undefined).join('\n')}\n`;
}

/** Files that are never part of an image, with any preset. */
const alwaysIgnored = ['.git', '.holdfast', '**/.env', '**/.env.*', '**/.DS_Store', presetDockerfile];

/** Returns a `.dockerignore` for the `files` of a preset, or nothing if the tree has its own. */
export async function ignoreFile(tree: PresetTree, own: readonly string[]): Promise<Record<string, string>> {
  if (await tree.has('.dockerignore')) return {};
  return { '.dockerignore': text([...alwaysIgnored, ...own]) };
}
