/** Reads files that name versions: those with one version in them, .tool-versions of asdf, mise.toml of mise. */
import { parse } from 'smol-toml';
import { z } from 'zod';
import { type PresetTree, at } from './tree.ts';

const tool = z.union([
  z.string(),
  z.number().transform(String),
  z.object({ version: z.string() }).transform(({ version }) => version),
]);
const miseTool = z.union([tool, z.array(tool).transform(([first]) => first)]);
const miseFile = z.object({ tools: z.record(z.string(), z.unknown()).optional() });

/** Returns the first line that is neither empty nor a comment. */
export function firstLine(text: string | undefined): string | undefined {
  return text
    ?.split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .find((line) => line !== '');
}

/**
 * Returns pairs of file and version for a tool, the first file first. What cannot be read is left out, since these files have
 * versions of many tools and other readers.
 * @param names the tool and its aliases, such as `['nodejs', 'node']`.
 */
export async function toolVersions(
  tree: PresetTree,
  folders: readonly string[],
  names: readonly string[],
): Promise<readonly (readonly [file: string, version: string])[]> {
  const found: (readonly [string, string])[] = [];
  for (const folder of folders) {
    const lines = (await tree.read(at(folder, '.tool-versions')))?.split('\n') ?? [];
    for (const line of lines) {
      const [name = '', version] = line.replace(/#.*/, '').trim().split(/\s+/);
      if (names.includes(name) && version !== undefined) found.push(['.tool-versions', version]);
    }
    for (const file of ['mise.toml', '.mise.toml', '.config/mise.toml']) {
      const tools = miseTools(await tree.read(at(folder, file)));
      for (const name of names) {
        const version = miseTool.safeParse(tools[name]).data;
        if (version !== undefined) found.push([file, version]);
      }
    }
  }
  return found;
}

function miseTools(text: string | undefined): Readonly<Record<string, unknown>> {
  if (text === undefined) return {};
  try {
    return miseFile.parse(parse(text)).tools ?? {};
  } catch {
    return {};
  }
}
