/** Folders that tools make from the rest of the source, such as installed dependencies: they are made again where the source is built. */

export interface MadeFolders {
  /**
   * Why a folder is not part of the source; undefined if it is.
   * @param beside the names beside the folder.
   */
  byName(name: string, beside: ReadonlySet<string>): string | undefined;
  /** The same, by the names in the folder. */
  byContent(names: ReadonlySet<string>): string | undefined;
}

/** What makes the folders again: a preset, or the Dockerfile of the source. */
export type Maker =
  | { readonly kind: 'preset'; readonly name: string }
  | { readonly kind: 'dockerfile'; readonly text: string }
  /** Nothing installs: the app runs what is there. */
  | { readonly kind: 'none' };

interface Row {
  readonly name: string;
  /** The folder counts only beside one of these files. */
  readonly beside: readonly string[];
}

/** A preset installs and builds all of these. */
const madeByPresets: readonly Row[] = [
  { name: 'node_modules', beside: ['package.json'] },
  { name: 'target', beside: ['Cargo.toml', 'pom.xml'] },
  { name: 'build', beside: ['build.gradle', 'build.gradle.kts'] },
  { name: '.gradle', beside: ['build.gradle', 'build.gradle.kts', 'settings.gradle', 'settings.gradle.kts'] },
];
/** Of no use to anybody but the tool that wrote them, on the machine where it did. */
const caches: ReadonlySet<string> = new Set([
  '__pycache__',
  '.pytest_cache',
  '.mypy_cache',
  '.ruff_cache',
  '.tox',
  '.nox',
]);
/** The file that marks a virtual environment of Python, which is bound to the Python of its machine. */
const venvMark = 'pyvenv.cfg';
const nodeInstall = /^\s*RUN\b.*\b(npm|pnpm|yarn|bun|corepack)\b/im;
const copiesNodeModules = /^\s*(COPY|ADD)\s+(?!.*--from=).*node_modules/im;

export function madeFolders(maker: Maker): MadeFolders {
  const rows = rowsOf(maker);
  const by = maker.kind === 'preset' ? `preset ${maker.name}` : 'the Dockerfile installs it';
  return {
    byName(name, beside) {
      if (caches.has(name)) return 'cache';
      return rows.some((row) => row.name === name && row.beside.some((file) => beside.has(file))) ? by : undefined;
    },
    byContent: (names) => (names.has(venvMark) ? 'a Python venv' : undefined),
  };
}

function rowsOf(maker: Maker): readonly Row[] {
  if (maker.kind === 'preset') return madeByPresets;
  if (maker.kind === 'none') return [];
  // A Dockerfile may copy what was built before; only what it installs itself is left out.
  const text = maker.text.replaceAll(/\\\r?\n/g, ' ');
  const installs = nodeInstall.test(text) && !copiesNodeModules.test(text);
  return installs ? madeByPresets.filter(({ name }) => name === 'node_modules') : [];
}
