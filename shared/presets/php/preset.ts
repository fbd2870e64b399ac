/** The preset `php`: Laravel, Symfony, and any folder with an index.php, served by Apache with PHP in it. */
import { needsTool } from '../machine-tools.ts';
import { type BuildStage, type Plan, type PlanCommand, type Preset, command } from '../plan.ts';
import { type PresetTree, allOf, at } from '../tree.ts';
import { apacheCommand, startText } from './apache.ts';
import { extensionsFor } from './extensions.ts';
import { type PhpProject, type PhpVersion, readPhpProject, readPhpVersion } from './project.ts';

const missing =
  'no index.php is there to serve, neither in public/ nor in the root: add one, or set `start` in [app.build]';

export const php: Preset = {
  async plan(tree, request): Promise<Plan> {
    const dir = request.settings.dir ?? '';
    const project = await readPhpProject(tree, dir);
    const { framework, composer, root } = project;
    const version = await readPhpVersion(tree, dir, project, request);
    const extensions = extensionsFor(project.extensions);
    const build = await buildStage(tree, dir, project, version);
    const title = [framework, composer === undefined ? undefined : 'Composer', `PHP ${version.series}`];
    return {
      preset: 'php',
      title: title.filter((one) => one !== undefined),
      reasons: [
        ...(root === undefined ? [] : [`${at(root, 'index.php')}: Apache serves ${root === '' ? 'the folder' : root}`]),
        version.reason,
        ...(project.extensions.length > 0 ? [`extensions: ${project.extensions.join(', ')}`] : []),
      ],
      notes: notesOf(framework, extensions.unknown),
      dir,
      binaries: [],
      build,
      run: {
        image: `php:${version.series}-apache`,
        systemPackages: extensions.packages,
        env: {
          APP_ENV: framework === 'Symfony' ? 'prod' : 'production',
          APP_DEBUG: '0',
          LOG_CHANNEL: 'stderr',
          PHP_CLI_SERVER_WORKERS: '4',
        },
        hostVariables: ['HOLDFAST_HOST'],
        fromBuild: build === undefined ? [] : [''],
        fromTree: build === undefined ? [''] : [],
        prepare: [
          ...extensions.commands.map((text) => command('sh', '-c', text)),
          apacheCommand(at(dir, root ?? ''), project.hasFrontController),
        ],
      },
      start:
        root === undefined
          ? { kind: 'none', missing }
          : { kind: 'command', words: ['sh', '-c', startText(root)], title: 'Apache with PHP' },
      ignored: ['**/vendor', '**/node_modules', 'storage/logs/*', 'storage/framework/cache/*', 'var/cache', 'var/log'],
    };
  },
};

function notesOf(framework: string | undefined, unknown: readonly string[]): string[] {
  return [
    ...unknown.map((name) => `The extension ${name} is not added: give the app a Dockerfile if it needs it`),
    ...(framework === 'Laravel'
      ? [
          'Laravel needs APP_KEY in the environment of the app',
          'Migrations are not run: run `php artisan migrate` yourself, or put it into `start`',
        ]
      : []),
    'Without an image, the web server of PHP itself answers, which takes few calls at once',
  ];
}

async function buildStage(
  tree: PresetTree,
  dir: string,
  { composer, framework }: PhpProject,
  { allowed }: PhpVersion,
): Promise<BuildStage | undefined> {
  const within = (list: readonly PlanCommand[]): PlanCommand[] =>
    list.map((one) => (dir === '' ? one : { ...one, in: dir }));
  const assets = await assetCommands(tree, dir);
  if (composer === undefined && assets.length === 0) return undefined;
  const isLocal = JSON.stringify(composer?.repositories ?? '').includes('"path"');
  const list = allowed.map((one) => `"${one}"`).join(', ');
  const check = `php -r 'exit(in_array(PHP_MAJOR_VERSION . "." . PHP_MINOR_VERSION, [${list}]) ? 0 : 1);'`;
  const tools = [needsTool('php', `PHP ${allowed.join(' or ')}`, check), needsTool('composer', 'Composer')];
  const options = ['--no-interaction', '--no-dev', '--ignore-platform-reqs'];
  const install = command('composer', 'install', ...options, '--no-progress', '--prefer-dist', '--no-scripts', '--no-autoloader'); // prettier-ignore
  // Symfony's scripts need the extensions of the app, which Composer's image lacks.
  const scripts = framework === 'Symfony' ? ['--no-scripts'] : [];
  const files = ['composer.json', 'composer.lock', 'auth.json', 'symfony.lock'].map((file) => at(dir, file));
  return {
    // Composer's own image, which has git and unzip; what it installs depends on the lock file, not on its PHP.
    image: 'composer:2',
    systemPackages: assets.length > 0 ? ['nodejs', 'npm'] : [],
    env: { COMPOSER_ALLOW_SUPERUSER: '1' },
    manifests: isLocal ? 'tree' : await allOf(tree, files),
    install: within(composer === undefined ? [] : [...tools, install]),
    build: within([
      ...(composer === undefined ? [] : [command('composer', 'dump-autoload', ...options, '--optimize', ...scripts)]),
      ...assets,
      writable(framework),
    ]),
    prune: within(assets.length > 0 ? [command('rm', '-rf', 'node_modules')] : []),
    installTexts: [JSON.stringify(composer ?? {})],
  };
}

/** The front end that many apps have, such as Laravel's with Vite. */
async function assetCommands(tree: PresetTree, dir: string): Promise<PlanCommand[]> {
  const manifest = (await tree.read(at(dir, 'package.json'))) ?? '';
  if (!/"build"\s*:/.test(manifest)) return [];
  const install = (await tree.has(at(dir, 'package-lock.json'))) ? 'ci' : 'install';
  return [command('npm', install, '--no-audit', '--no-fund'), command('npm', 'run', 'build')];
}

/** The user of the image owns nothing; frameworks write into these folders. */
function writable(framework: string | undefined): PlanCommand {
  const text =
    framework === 'Laravel'
      ? 'mkdir -p storage/framework/cache storage/framework/sessions storage/framework/views storage/logs bootstrap/cache && chmod -R a+rwX storage bootstrap/cache'
      : 'if [ -d var ] || [ -f symfony.lock ]; then mkdir -p var && chmod -R a+rwX var; fi';
  return { ...command('sh', '-c', text), only: 'image', title: 'make folders writable' };
}
