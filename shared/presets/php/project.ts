/** Reads what a PHP app is: its framework, the folder that is served, the extensions and the version that it asks for. */
import { z } from 'zod';
import { AppError } from '../../errors.ts';
import type { PlanRequest } from '../plan.ts';
import { allows, pick, seriesOf } from '../series.ts';
import { toolVersions } from '../version-files.ts';
import { type PresetTree, at, firstOf } from '../tree.ts';

const preferred = '8.4';
const known = ['7.4', '8.0', '8.1', '8.2', '8.3', '8.4', '8.5'];
/** Folders that frameworks serve, so that no other file can be asked for. */
const documentRoots = ['public', 'web', 'webroot', 'www', 'htdocs', 'public_html', 'html', ''];

const composerSchema = z.object({
  require: z.record(z.string(), z.unknown()).optional(),
  config: z.object({ platform: z.record(z.string(), z.unknown()).optional() }).optional(),
  repositories: z.unknown().optional(),
});

export interface PhpProject {
  readonly framework: string | undefined;
  readonly composer: z.output<typeof composerSchema> | undefined;
  /** The folder with the index.php, relative to the app; undefined if there is none. */
  readonly root: string | undefined;
  /** Whether paths without a file are for index.php. */
  readonly hasFrontController: boolean;
  readonly extensions: readonly string[];
}

export const phpFile = (tree: PresetTree): Promise<string | undefined> =>
  firstOf(tree, ['composer.json', ...documentRoots.map((folder) => at(folder, 'index.php'))]);

/** Frameworks by the packages that they are, and the extensions that their apps usually need without saying so. */
const frameworks: readonly {
  readonly name: string;
  readonly packages: RegExp;
  readonly file?: string;
  readonly extensions: readonly string[];
}[] = [
  {
    name: 'Laravel',
    packages: /^laravel\/(lumen-)?framework$/,
    file: 'artisan',
    extensions: ['bcmath', 'opcache', 'pdo_mysql', 'pdo_pgsql'],
  },
  {
    name: 'Symfony',
    packages: /^symfony\/(framework-bundle|symfony)$/,
    file: 'symfony.lock',
    extensions: ['intl', 'opcache'],
  },
  {
    name: 'WordPress',
    packages: /^(roots|johnpbloch)\/wordpress$/,
    file: 'wp-config-sample.php',
    extensions: ['mysqli', 'opcache'],
  },
  { name: 'Slim', packages: /^slim\/slim$/, extensions: [] },
  { name: 'CakePHP', packages: /^cakephp\/cakephp$/, extensions: ['intl'] },
  { name: 'CodeIgniter', packages: /^codeigniter4?\//, extensions: ['intl'] },
];

/** @throws AppError source_invalid */
export async function readPhpProject(tree: PresetTree, dir: string): Promise<PhpProject> {
  const composer = parseComposer(await tree.read(at(dir, 'composer.json')), at(dir, 'composer.json'));
  const lock = (await tree.read(at(dir, 'composer.lock'))) ?? '';
  const indexes = documentRoots.map((folder) => at(dir, at(folder, 'index.php')));
  const index = await firstOf(tree, indexes);
  const root = index === undefined ? undefined : documentRoots[indexes.indexOf(index)];
  const required = Object.keys(composer?.require ?? {});
  let framework: (typeof frameworks)[number] | undefined;
  for (const one of frameworks) {
    const fits =
      required.some((name) => one.packages.test(name)) ||
      (one.file !== undefined && (await tree.has(at(dir, one.file))));
    if (framework === undefined && fits) framework = one;
  }
  const locked = [...lock.matchAll(/"ext-([\w-]+)"/g)].map(([, name = '']) => name);
  const listed = required.filter((name) => name.startsWith('ext-')).map((name) => name.slice(4));
  return {
    framework: framework?.name,
    composer,
    root,
    hasFrontController: composer !== undefined || root === 'public' || framework !== undefined,
    extensions: [...new Set([...listed, ...locked, ...(framework?.extensions ?? [])])].toSorted(),
  };
}

function parseComposer(text: string | undefined, path: string): PhpProject['composer'] {
  if (text === undefined) return undefined;
  try {
    return composerSchema.parse(JSON.parse(text));
  } catch (error) {
    const why = error instanceof Error ? error.message : '';
    throw new AppError('source_invalid', `${path} is not valid: ${why}`, { phase: 'source', cause: error });
  }
}

export interface PhpVersion {
  readonly series: string;
  readonly reason: string;
  /** The versions that will do on a machine. */
  readonly allowed: readonly string[];
}

export async function readPhpVersion(
  tree: PresetTree,
  dir: string,
  { composer }: PhpProject,
  { settings }: PlanRequest,
): Promise<PhpVersion> {
  const wanted: (readonly [string, unknown])[] = [
    ['build.php', settings.versions['php']],
    ['.php-version', (await tree.read(at(dir, '.php-version')))?.trim()],
    ...(await toolVersions(tree, [dir], ['php'])),
    ['composer.json', composer?.config?.platform?.['php']],
    ['composer.json', composer?.require?.['php']],
  ];
  for (const [file, text] of wanted) {
    if (typeof text !== 'string' || !/\d/.test(text)) continue;
    const isExact = /^\d+\.\d+(\.\d+)?$/.test(text);
    const series = isExact ? seriesOf(text, 2) : pick(text, known, preferred, 'major');
    if (series === undefined) continue;
    const allowed = isExact ? [series] : known.filter((one) => allows(text, one, 'major'));
    return { series, reason: `${file}: PHP ${series}`, allowed };
  }
  return { series: preferred, reason: `PHP ${preferred}, since no file asks for another`, allowed: known };
}
