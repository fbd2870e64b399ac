/** Decides how a Ruby app is started. */
import { type PlanCommand, type PlanRequest, type Start, command } from '../plan.ts';
import { type PresetTree, at, filesIn } from '../tree.ts';
import type { Gems } from './gems.ts';

export interface RubyStart {
  readonly framework: string | undefined;
  readonly reason: string | undefined;
  readonly start: Start;
  readonly env: Readonly<Record<string, string>>;
  readonly build: readonly PlanCommand[];
  readonly notes: readonly string[];
}

/** Servers of Rack apps in the order in which they are taken, with their command for a config.ru. */
const servers: readonly (readonly [gem: string, command: string])[] = [
  ['puma', 'puma --bind "tcp://$HOLDFAST_HOST:$PORT" --environment production'],
  ['falcon', 'falcon serve --bind "http://$HOLDFAST_HOST:$PORT"'],
  ['unicorn', 'unicorn --listen "$HOLDFAST_HOST:$PORT" --env production'],
  ['thin', 'thin --address "$HOLDFAST_HOST" --port "$PORT" --environment production --rackup config.ru start'],
  ['iodine', 'iodine -b "$HOLDFAST_HOST" -p "$PORT"'],
  ['webrick', 'rackup --server webrick --host "$HOLDFAST_HOST" --port "$PORT" --env production'],
];
const scripts = ['app.rb', 'server.rb', 'main.rb', 'web.rb', 'index.rb'];
const sites: readonly {
  readonly gem: string;
  readonly name: string;
  readonly words: readonly string[];
  readonly folder: string;
}[] = [
  { gem: 'jekyll', name: 'Jekyll', words: ['bundle', 'exec', 'jekyll', 'build'], folder: '_site' },
  { gem: 'github-pages', name: 'Jekyll', words: ['bundle', 'exec', 'jekyll', 'build'], folder: '_site' },
  { gem: 'middleman', name: 'Middleman', words: ['bundle', 'exec', 'middleman', 'build'], folder: 'build' },
  { gem: 'bridgetown', name: 'Bridgetown', words: ['bundle', 'exec', 'bridgetown', 'build'], folder: 'output' },
];

export async function findRubyStart(
  tree: PresetTree,
  dir: string,
  gems: Gems,
  { route }: PlanRequest,
): Promise<RubyStart> {
  const none = { framework: undefined, reason: undefined, env: {}, build: [], notes: [] };
  const isRails = gems.names.has('rails') || (await tree.has(at(dir, 'config/application.rb')));
  if (await tree.has(at(dir, 'config.ru'))) {
    const framework = isRails
      ? 'Rails'
      : (['hanami', 'sinatra', 'roda', 'grape'].find((gem) => gems.names.has(gem)) ?? 'Rack').replace(/^\w/, (first) =>
          first.toUpperCase(),
        );
    const server = servers.find(([gem]) => gems.names.has(gem));
    if (server === undefined) {
      return {
        ...none,
        framework,
        start: {
          kind: 'none',
          missing:
            'config.ru is there, and the Gemfile has no server for it: add `gem "puma"` and run `bundle install`',
        },
      };
    }
    return {
      framework,
      reason: `config.ru: ${framework}, served by ${server[0]}`,
      start: { kind: 'command', words: ['sh', '-c', `exec bundle exec ${server[1]}`] },
      env:
        isRails && route !== undefined && route.path !== '/'
          ? { RAILS_RELATIVE_URL_ROOT: route.path }
          : framework === 'Hanami'
            ? { HANAMI_ENV: 'production', HANAMI_SERVE_ASSETS: 'true' }
            : {},
      build: [],
      notes: isRails
        ? [
            'Rails needs SECRET_KEY_BASE, or RAILS_MASTER_KEY, in the environment of the app',
            'Migrations are not run: run `rails db:migrate` yourself, or put it into `start`',
          ]
        : [],
    };
  }
  const site = sites.find(({ gem }) => gems.names.has(gem));
  if (site !== undefined) {
    const base = site.name === 'Jekyll' && route !== undefined && route.path !== '/' ? ['--baseurl', route.path] : [];
    return {
      ...none,
      framework: site.name,
      reason: `Gemfile: ${site.name}`,
      start: { kind: 'site', folders: [at(dir, site.folder)], spa: false },
      build: [command(...site.words, ...base)],
    };
  }
  return script(tree, dir, gems);
}

async function script(tree: PresetTree, dir: string, gems: Gems): Promise<RubyStart> {
  const none = { framework: undefined, reason: undefined, env: {}, build: [], notes: [] };
  const files = (await filesIn(tree, dir)).filter((name) => /^[\w-]+\.rb$/.test(name));
  const file = scripts.find((name) => files.includes(name)) ?? (files.length === 1 ? files[0] : undefined);
  if (file === undefined) {
    return {
      ...none,
      start: {
        kind: 'none',
        missing: `no Ruby app is there to start: there is neither a config.ru nor one of ${scripts.join(', ')}. Add one, set \`start\` in [app.build], or write a Procfile with a line \`web: …\``,
      },
    };
  }
  const text = (await tree.read(at(dir, file))) ?? '';
  const ruby = gems.hasGemfile ? 'bundle exec ruby' : 'ruby';
  const isSinatra = /^\s*require\s+["']sinatra["']/m.test(text);
  const words = isSinatra
    ? ['sh', '-c', `exec ${ruby} ${file} -o "$HOLDFAST_HOST" -p "$PORT" -e production`]
    : [...ruby.split(' '), file];
  return {
    ...none,
    framework: isSinatra ? 'Sinatra' : undefined,
    reason: `${file}: ${isSinatra ? 'Sinatra' : 'a script'}`,
    start: { kind: 'command', words },
  };
}
