/** What presets do not do: languages without a preset, and files of other builders. Both are named, with what to do. */
import { misfit, type PlanSettings } from './plan.ts';
import { filesIn, foldersIn, firstOf, type PresetTree } from './tree.ts';

interface Unsupported {
  readonly name: string;
  readonly files: readonly string[];
  /** The ending of a file in the root that shows it as well. */
  readonly ending?: string;
}

/** Looked for only if no preset fits. */
const unsupported: readonly Unsupported[] = [
  { name: '.NET', files: ['global.json', 'Directory.Build.props'], ending: '.csproj' },
  { name: '.NET', files: [], ending: '.fsproj' },
  { name: '.NET', files: [], ending: '.sln' },
  { name: 'Elixir', files: ['mix.exs'] },
  { name: 'Gleam', files: ['gleam.toml'] },
  { name: 'Erlang', files: ['rebar.config'] },
  { name: 'Scala', files: ['build.sbt', 'build.sc'] },
  { name: 'Clojure', files: ['project.clj', 'deps.edn'] },
  { name: 'Swift', files: ['Package.swift'] },
  { name: 'Haskell', files: ['stack.yaml', 'cabal.project'], ending: '.cabal' },
  { name: 'Crystal', files: ['shard.yml'] },
  { name: 'Dart', files: ['pubspec.yaml'] },
  { name: 'Zig', files: ['build.zig'] },
  { name: 'Nim', files: [], ending: '.nimble' },
  { name: 'Julia', files: ['Project.toml'] },
  { name: 'R', files: ['renv.lock', 'app.R', 'DESCRIPTION'] },
  { name: 'Lua', files: ['nginx.lua', 'rockspec'], ending: '.rockspec' },
  { name: 'Perl', files: ['cpanfile', 'Makefile.PL', 'app.psgi'] },
  { name: 'OCaml', files: ['dune-project'] },
  { name: 'C or C++', files: ['CMakeLists.txt', 'meson.build'] },
  { name: 'Hugo', files: ['hugo.toml', 'hugo.yaml', 'archetypes/default.md'] },
  { name: 'Zola', files: ['templates/base.html'] },
  { name: 'Nix', files: ['flake.nix'] },
];

/** The kind of project, if it is one that no preset makes. */
export async function unsupportedKind(tree: PresetTree): Promise<string | undefined> {
  const names = await filesIn(tree, '');
  for (const { name, files, ending } of unsupported) {
    const found = (await firstOf(tree, files)) ?? names.find((file) => ending !== undefined && file.endsWith(ending));
    if (found !== undefined) return `${name} (${found})`;
  }
  return undefined;
}

/** Refuses a folder whose app would not be what a preset makes of its other files. @throws AppError dockerfile_invalid */
export async function refuseUnsupported(tree: PresetTree, settings: PlanSettings): Promise<void> {
  if (settings.preset !== undefined) return;
  const meteor = await firstOf(tree, ['.meteor/release']);
  if (meteor !== undefined) throw misfit(notSupported('Meteor (.meteor/release)'));
}

export function notSupported(kind: string): string {
  return `this looks like ${kind}, for which there is no preset: add a Dockerfile, which Holdfast then builds`;
}

interface Foreign {
  readonly file: string;
  readonly of: string;
}

const foreign: readonly Foreign[] = [
  { file: 'nixpacks.toml', of: 'Nixpacks' },
  { file: 'railpack.json', of: 'Railpack' },
  { file: 'railway.json', of: 'Railway' },
  { file: 'railway.toml', of: 'Railway' },
  { file: 'vercel.json', of: 'Vercel' },
  { file: 'netlify.toml', of: 'Netlify' },
  { file: 'project.toml', of: 'Cloud Native Buildpacks' },
  { file: 'app.json', of: 'Heroku' },
  { file: 'app.yaml', of: 'App Engine' },
  { file: 'fly.toml', of: 'Fly.io' },
  { file: 'render.yaml', of: 'Render' },
  { file: 'heroku.yml', of: 'Heroku' },
  { file: 'manifest.yml', of: 'Cloud Foundry' },
  { file: 'wrangler.toml', of: 'Cloudflare Workers' },
  { file: 'Dockerfile', of: 'docker' },
  { file: 'docker-compose.yml', of: 'Docker Compose' },
];

/** One note for each file of another builder, which is not used beyond what `foreignSettings` reads of it. */
export async function foreignNotes(tree: PresetTree, used: ReadonlySet<string>): Promise<string[]> {
  const notes: string[] = [];
  for (const { file, of } of foreign) {
    if (file === 'Dockerfile' || file === 'docker-compose.yml' || used.has(file)) continue;
    if (await tree.has(file))
      notes.push(`${file} is for ${of} and is not read; \`[build]\` in a holdfast.toml has such settings`);
  }
  const folders = await foldersIn(tree, '');
  if (folders.includes('api') && (await tree.has('vercel.json')))
    notes.push('the functions in api/ are for Vercel: nothing runs them here');
  return notes;
}
