/**
 * The presets, and the order in which a folder is looked at. A new language is one file, one entry in `presets` and one
 * row in `detectors`.
 */
import type { PresetName } from '../protocol/build-settings.ts';
import { bun, startsWithBun } from './bun.ts';
import { deno, startsWithDeno } from './deno.ts';
import { go } from './go.ts';
import { java, javaFile } from './java/preset.ts';
import { buildsSite, startsWithNode } from './node/detect.ts';
import { node } from './node/preset.ts';
import type { PlanRequest, Preset } from './plan.ts';
import { php } from './php/preset.ts';
import { phpFile } from './php/project.ts';
import { pythonFile, python } from './python/preset.ts';
import { ruby, rubyFile } from './ruby/preset.ts';
import { rust, rustFile } from './rust/preset.ts';
import { plainFiles, staticFiles } from './static.ts';
import { firstOf, type PresetTree } from './tree.ts';

export const presets: Readonly<Record<PresetName, Preset>> = {
  node,
  bun,
  deno,
  python,
  go,
  ruby,
  java,
  php,
  rust,
  static: staticFiles,
};

/** One row: the preset is chosen if `detect` returns something, which says why, and no row before has. */
export interface Detector {
  readonly preset: PresetName;
  /** What is looked for, as the error for a folder of no known kind says it. */
  readonly looksFor: string;
  /** Returns what was found, such as `go.mod`; undefined if the row does not fit. */
  readonly detect: (tree: PresetTree, request: PlanRequest) => Promise<string | undefined>;
}

/** A package.json often exists only for tools, so on its own it is considered last. */
export const detectors: readonly Detector[] = [
  // Files that only one language has decide before a package.json, which such apps often have for their front end.
  { preset: 'python', looksFor: '', detect: (tree) => firstOf(tree, ['manage.py']) },
  { preset: 'ruby', looksFor: '', detect: (tree) => firstOf(tree, ['config.ru']) },
  { preset: 'php', looksFor: '', detect: (tree) => firstOf(tree, ['artisan', 'symfony.lock']) },
  { preset: 'deno', looksFor: 'a deno.json', detect: startsWithDeno },
  { preset: 'bun', looksFor: 'a bun.lock', detect: startsWithBun },
  { preset: 'node', looksFor: 'a package.json with a start script, a server.js', detect: startsWithNode },
  { preset: 'go', looksFor: 'a go.mod', detect: (tree) => firstOf(tree, ['go.work', 'go.mod']) },
  {
    preset: 'python',
    looksFor: 'a requirements.txt or pyproject.toml, an app.py or main.py',
    detect: pythonFile,
  },
  { preset: 'ruby', looksFor: 'a Gemfile or config.ru', detect: rubyFile },
  { preset: 'java', looksFor: 'a pom.xml or build.gradle', detect: javaFile },
  { preset: 'php', looksFor: 'a composer.json or index.php', detect: phpFile },
  { preset: 'rust', looksFor: 'a Cargo.toml', detect: rustFile },
  { preset: 'static', looksFor: 'a site that a build script makes', detect: buildsSite },
  { preset: 'static', looksFor: 'an index.html', detect: plainFiles },
  { preset: 'node', looksFor: '', detect: (tree) => firstOf(tree, ['package.json', 'package.json5', 'package.yaml']) },
];
