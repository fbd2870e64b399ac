/**
 * Writes Dockerfiles that Kaniko, buildah and docker all build: no heredocs, no mounts, no BuildKit syntax. What comes
 * from the tree (names of files, scripts) goes in as JSON, so that nothing in it can become an instruction.
 */
import type { PresetTree } from './preset.ts';

/** The name a preset's Dockerfile has in a build, beside one that the tree may have. */
export const presetDockerfile = 'Dockerfile.holdfast';

export const generatedBy = (preset: string, what: string): string[] => [
  // A name with a line break would go on as an instruction.
  `# ${what.replaceAll(/\p{Cc}/gu, '?')}`,
  `# Written by Holdfast's preset "${preset}"; \`holdfast init\` writes it into the folder, to be changed at will.`,
];

/** `COPY` of files into a folder, which ends with `/`. */
export function copy(paths: readonly string[], to: string): string {
  const isPlain = [...paths, to].every((path) => /^[\w@./-]+$/.test(path));
  return isPlain ? `COPY ${[...paths, to].join(' ')}` : `COPY ${exec([...paths, to])}`;
}

/** The exec form: no shell between the runtime and the app, so that SIGTERM reaches it. */
export function exec(argv: readonly string[]): string {
  return `[${argv.map((word) => JSON.stringify(word)).join(', ')}]`;
}

/** A command of fixed and checked words in shell form. */
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

/** Never part of an image, whatever the preset. */
const alwaysIgnored = ['.git', '.holdfast', '**/.env', '**/.env.*', '**/.DS_Store', presetDockerfile];

/** `.dockerignore` as `files` of a preset has it: nothing where the tree has its own. */
export async function ignoreFile(tree: PresetTree, own: readonly string[]): Promise<Record<string, string>> {
  if (await tree.has('.dockerignore')) return {};
  return { '.dockerignore': text([...alwaysIgnored, ...own]) };
}
