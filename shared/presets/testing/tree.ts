/** An in-memory tree of files for presets. */
import type { PresetTree } from '../tree.ts';

export function testTree(files: Readonly<Record<string, string>>): PresetTree {
  const paths = Object.keys(files);
  return {
    has: async (path) => Object.hasOwn(files, path),
    read: async (path) => files[path],
    list: async (folder) => {
      const prefix = folder === '' ? '' : `${folder}/`;
      const inside = paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length));
      const kinds = new Map(
        inside.map((rest) => [rest.split('/', 1)[0] ?? '', rest.includes('/') ? 'folder' : 'file']),
      );
      return [...kinds]
        .map(([name, kind]) => ({ name, kind: kind as 'file' | 'folder' }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1));
    },
  };
}
