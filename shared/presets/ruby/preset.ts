/** The preset `ruby`: Rails, Sinatra and other Rack apps, scripts, and sites that Jekyll or Middleman make. */
import { needsTool } from '../machine-tools.ts';
import { type Plan, type PlanCommand, type PlanRequest, type Preset, command } from '../plan.ts';
import { toolVersions } from '../version-files.ts';
import { type PresetTree, allOf, at, firstOf } from '../tree.ts';
import { pick } from '../series.ts';
import { type Gems, gemPackages, readGems } from './gems.ts';
import { findRubyStart } from './start.ts';

const preferred = '3.4';
const known = ['2.7', '3.0', '3.1', '3.2', '3.3', '3.4', '4.0'];
const bundle = '.holdfast-bundle';
/** Rails 5 to 8 install these; without one of them there is nothing to precompile. */
const assetGems = ['sprockets-rails', 'propshaft', 'webpacker', 'shakapacker', 'vite_rails'];
const nodeGems = ['jsbundling-rails', 'cssbundling-rails', 'webpacker', 'shakapacker', 'vite_rails', 'vite_ruby'];

export const rubyFile = (tree: PresetTree): Promise<string | undefined> =>
  firstOf(tree, ['Gemfile', 'config.ru', 'app.rb', 'server.rb']);

export const ruby: Preset = {
  async plan(tree, request): Promise<Plan> {
    const dir = request.settings.dir ?? '';
    const gems = await readGems(tree, dir);
    const version = await rubyVersion(tree, dir, gems, request);
    const image = `ruby:${version.name}-slim`;
    const found = await findRubyStart(tree, dir, gems, request);
    const isRails = found.framework === 'Rails';
    const system = gemPackages(gems.names);
    const usesNode =
      isRails && nodeGems.some((gem) => gems.names.has(gem)) && (await tree.has(at(dir, 'package.json')));
    const env = {
      BUNDLE_PATH: bundle,
      BUNDLE_WITHOUT: 'development:test',
      ...(gems.hasLock ? { BUNDLE_DEPLOYMENT: '1' } : {}),
      LANG: 'C.UTF-8',
      RAILS_ENV: 'production',
      RACK_ENV: 'production',
      APP_ENV: 'production',
      ...found.env,
    };
    const build = [
      ...(isRails && assetGems.some((gem) => gems.names.has(gem)) ? [precompile] : []),
      ...found.build,
      ...(isRails ? [writable] : []),
    ];
    const within = (list: readonly PlanCommand[]): PlanCommand[] =>
      list.map((one) => (dir === '' ? one : { ...one, in: dir }));
    return {
      preset: 'ruby',
      title: [found.framework, gems.hasGemfile ? 'Bundler' : undefined, `Ruby ${version.name}`].filter(
        (one) => one !== undefined,
      ),
      reasons: [found.reason, version.reason].filter((one) => one !== undefined),
      notes: found.notes,
      dir,
      binaries: [],
      build: gems.hasGemfile
        ? {
            image,
            // Most gems with native parts need these.
            systemPackages: [
              'build-essential',
              'git',
              'libyaml-dev',
              'pkg-config',
              ...system.build,
              ...(usesNode ? ['nodejs', 'npm'] : []),
            ],
            env,
            manifests: gems.usesTree
              ? 'tree'
              : await allOf(
                  tree,
                  ['Gemfile', 'Gemfile.lock', '.ruby-version', '.tool-versions'].map((file) => at(dir, file)),
                ),
            install: within([needsRuby(version), ...bundleCommands(gems), ...(usesNode ? [yarn] : [])]),
            build: within(build),
            prune: within([
              { words: ['sh', '-c', `rm -rf ${bundle}/ruby/*/cache node_modules tmp/cache`], title: 'remove caches' },
            ]),
          }
        : undefined,
      run: {
        image,
        systemPackages: system.run,
        env: {
          ...env,
          RAILS_LOG_TO_STDOUT: '1',
          RAILS_SERVE_STATIC_FILES: '1',
          BOOTSNAP_READONLY: 'true',
          PIDFILE: '/tmp/server.pid',
          MALLOC_ARENA_MAX: '2',
        },
        hostVariables: found.start.kind === 'command' ? ['HOLDFAST_HOST'] : [],
        fromBuild: gems.hasGemfile ? [''] : [],
        fromTree: gems.hasGemfile ? [] : [''],
      },
      start: found.start,
      ignored: [
        '**/vendor/bundle',
        `**/${bundle}`,
        '**/.bundle',
        'log/*.log',
        'tmp/cache',
        'tmp/pids',
        '**/node_modules',
        'coverage',
        '_site',
      ],
    };
  },
};

const precompile: PlanCommand = {
  ...command(
    'sh',
    '-c',
    'SECRET_KEY_BASE="${SECRET_KEY_BASE:-build}" SECRET_KEY_BASE_DUMMY=1 bundle exec rails assets:precompile',
  ),
  title: 'rails assets:precompile',
};
/** The user of the image owns nothing; Rails writes into these. */
const writable: PlanCommand = {
  ...command('sh', '-c', 'mkdir -p tmp log storage db && chmod -R a+rwX tmp log storage db'),
  only: 'image',
};
const yarn: PlanCommand = {
  ...command('sh', '-c', 'test ! -f yarn.lock || npm install --global yarn@1'),
  only: 'image',
};

function bundleCommands({ lacksPlatform }: Gems): PlanCommand[] {
  const platform: PlanCommand = {
    ...command('sh', '-c', 'bundle lock --add-platform "$(ruby -e \'print Gem::Platform.local\')"'),
    title: 'bundle lock --add-platform',
  };
  return [...(lacksPlatform ? [platform] : []), command('bundle', 'install')];
}

interface RubyVersion {
  readonly name: string;
  readonly reason: string;
  /** Whether a file asks for it. */
  readonly isAsked: boolean;
}

async function rubyVersion(tree: PresetTree, dir: string, gems: Gems, { settings }: PlanRequest): Promise<RubyVersion> {
  const line = async (file: string): Promise<string | undefined> =>
    (await tree.read(at(dir, file)))?.trim().split('\n')[0];
  const wanted: (readonly [string, string | undefined])[] = [
    ['build.ruby', settings.versions['ruby']],
    ['.ruby-version', await line('.ruby-version')],
    ['Gemfile', gems.ruby],
    ...(await toolVersions(tree, [dir], ['ruby'])),
  ];
  for (const [file, text] of wanted) {
    if (text === undefined || !/\d/.test(text)) continue;
    if (/jruby|truffle|mruby|rubinius/i.test(text)) break;
    const exact = /^(?:ruby-)?(\d+\.\d+(?:\.\d+)?)(?:-?p\d+)?$/.exec(text.trim())?.[1];
    // Bundler accepts no other patch release than the one that a Gemfile names.
    const name = exact ?? pick(text, known, preferred);
    if (name !== undefined) return { name, reason: `${file}: Ruby ${name}`, isAsked: exact !== undefined };
  }
  return { name: preferred, reason: `Ruby ${preferred}, since no file asks for another`, isAsked: false };
}

function needsRuby({ name, isAsked }: RubyVersion): PlanCommand {
  const series = name.split('.').slice(0, 2).join('.');
  return needsTool(
    'bundle',
    `Ruby ${isAsked ? name : ''} with Bundler`.replace('  ', ' '),
    isAsked ? `ruby -e 'exit RUBY_VERSION.start_with?("${series}.")'` : undefined,
  );
}
