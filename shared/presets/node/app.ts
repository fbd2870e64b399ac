/** The app of a Node.js repository: its folder, its manifest, and what frameworks look at. */
import type { PlanRequest } from '../plan.ts';
import { at, firstOf, type PresetTree } from '../tree.ts';
import { type Manifest, allDependencies } from './manifest.ts';
import type { Scripts } from './start.ts';

export interface NodeApp {
  readonly tree: PresetTree;
  readonly request: PlanRequest;
  /** Relative to the tree; `''` is its root. */
  readonly dir: string;
  readonly manifest: Manifest;
  readonly scripts: Scripts;
  /** Ranges by name, development dependencies included, of the app and then of the root. */
  readonly dependencies: Readonly<Record<string, string>>;
  /** Whether a file is in the folder of the app. */
  has(path: string): Promise<boolean>;
  read(path: string): Promise<string | undefined>;
  /** Returns the text of the first configuration file that is there, such as next.config.ts, without comments; else ''. */
  config(name: string): Promise<string>;
}

export function nodeApp(
  options: Pick<NodeApp, 'tree' | 'request' | 'dir' | 'manifest'> & { readonly root: Manifest },
): NodeApp {
  const { tree, dir, manifest, root } = options;
  const inside = (path: string): string => at(dir, path);
  return {
    ...options,
    scripts: manifest.scripts,
    dependencies:
      dir === ''
        ? allDependencies(manifest)
        : { ...root.devDependencies, ...root.dependencies, ...allDependencies(manifest) },
    has: (path) => tree.has(inside(path)),
    read: (path) => tree.read(inside(path)),
    async config(name) {
      const files = ['js', 'mjs', 'cjs', 'ts', 'mts', 'cts'].map((ending) => inside(`${name}.${ending}`));
      const found = await firstOf(tree, files);
      return found === undefined ? '' : withoutComments((await tree.read(found)) ?? '');
    },
  };
}

/** Removes comments that stand on lines of their own or after a blank, which is where people put settings to sleep. */
function withoutComments(source: string): string {
  return source.replaceAll(/\/\*[^]*?\*\//g, '').replaceAll(/(^|\s)\/\/[^\n]*/g, '$1');
}

/** Returns the text that a key is set to in a configuration: `outDir: 'www'`. */
export function setting(config: string, key: string): string | undefined {
  return new RegExp(`\\b${key}\\s*:\\s*(?:path\\.\\w+\\([^'"\`)]*)?['"\`]([^'"\`$]+)['"\`]`).exec(config)?.[1];
}
