/** Reads the version files that serve several languages: .tool-versions of asdf, mise.toml of mise. */
import { parse } from 'smol-toml';
import { z } from 'zod';
import { type PresetTree, at } from './tree.ts';

const tool = z.union([
  z.string(),
  z.number().transform(String),
  z.object({ version: z.string() }).transform(({ version }) => version),
]);
const mise = z.object({ tools: z.record(z.string(), z.union([tool, z.array(tool)])).optional() });

/**
 * Returns pairs of file and version for a tool, the first file first. What cannot be read is left out, since these files have
 * versions of many tools and other readers.
 * @param names the tool and its aliases, such as `['nodejs', 'node']`.
 */
export async function toolVersion(
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
    for (const file of ['mise.toml', '.mise.toml']) {
      const tools = toolsOf(await tree.read(at(folder, file)));
      for (const name of names) {
        const version = [tools[name]].flat()[0];
        if (version !== undefined) found.push([file, version]);
      }
    }
  }
  return found;
}

function toolsOf(text: string | undefined): Readonly<Record<string, string | string[]>> {
  if (text === undefined) return {};
  try {
    return mise.parse(parse(text)).tools ?? {};
  } catch {
    return {};
  }
}
