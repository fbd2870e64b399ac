/** Reads which version of a language a folder asks for, and chooses the image that fits. */
import { type PlanRequest, misfit } from './plan.ts';
import { at, type PresetTree } from './tree.ts';
import { firstLine, toolVersions } from './version-files.ts';
import { admits } from './version-range.ts';

export interface Language {
  /** The key in `[app.build]`. */
  readonly key: string;
  /** For messages: `Node`. */
  readonly name: string;
  /** Its names in `.tool-versions` and mise.toml. */
  readonly tools: readonly string[];
  /** Files that have nothing but a version in them. */
  readonly files: readonly string[];
  /** The versions that have an image, the preferred one first: `['24', '22', '20']`. */
  readonly lines: readonly string[];
  /** Words that mean a line: `{ 'lts/iron': '20' }`. */
  readonly aliases?: Readonly<Record<string, string>>;
}

export interface ChosenVersion {
  /** One of the lines: `22`. */
  readonly version: string;
  /** What asked for it: `.nvmrc: 22.3.0`; undefined if nothing did. */
  readonly reason: string | undefined;
}

interface Wanted {
  readonly text: string;
  readonly from: string;
}

/**
 * @param folders are searched in this order: the folder of the app, then the root.
 * @param declared what manifests say, such as `engines`; considered last.
 * @throws AppError dockerfile_invalid if no image fits, naming what asked for it.
 */
export async function chooseVersion(
  tree: PresetTree,
  language: Language,
  options: {
    readonly request: PlanRequest;
    readonly folders: readonly string[];
    readonly declared: readonly (Wanted | undefined)[];
  },
): Promise<ChosenVersion> {
  const own = options.request.settings.versions[language.key];
  const wanted =
    own === undefined
      ? ((await fromFiles(tree, language, options.folders)) ?? options.declared.find((one) => one !== undefined))
      : { text: own, from: `build.${language.key}` };
  const [preferred = ''] = language.lines;
  if (wanted === undefined) return { version: preferred, reason: undefined };
  return { version: fitting(language, wanted), reason: `${wanted.from}: ${language.name} ${wanted.text}` };
}

function fitting({ lines, aliases = {}, name, key }: Language, { text, from }: Wanted): string {
  const plain = text.trim().replace(/^v(?=\d)/, '');
  const alias = aliases[plain.toLowerCase()];
  if (alias !== undefined) return alias;
  const found = lines.find((line) => admits(plain, line) === true);
  if (found !== undefined) return found;
  // Releases that are newer than this list have images too.
  const parts = /^\d+(?:\.\d+){0,2}$/.test(plain) ? plain.split('.') : [];
  const [newest = ''] = lines.toSorted((a, b) => compare(b, a));
  const precision = newest.split('.').length;
  if (parts.length >= precision && compare(plain, newest) > 0) return parts.slice(0, precision).join('.');
  throw misfit(
    `${from} asks for ${name} ${JSON.stringify(text)}, and no image has it (there are ${lines.join(', ')}): ` +
      `change it, set build.${key}, or give the app a Dockerfile`,
  );
}

function compare(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number));
  for (let part = 0; part < 3; part += 1) {
    const difference = (left?.[part] ?? 0) - (right?.[part] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

async function fromFiles(
  tree: PresetTree,
  language: Language,
  folders: readonly string[],
): Promise<Wanted | undefined> {
  for (const folder of new Set(folders)) {
    for (const file of language.files) {
      const text = firstLine(await tree.read(at(folder, file)));
      if (text !== undefined) return { text, from: at(folder, file) };
    }
    const [tool] = await toolVersions(tree, [folder], language.tools);
    if (tool !== undefined) return { text: tool[1], from: at(folder, tool[0]) };
  }
  return undefined;
}
