/** The preset `deno`: a deno.json, or a file that uses Deno's own server. */
import { z } from 'zod';
import { AppError } from '../errors.ts';
import type { Plan, PlanCommand, PlanRequest, Preset } from './plan.ts';
import { allOf, firstOf, type PresetTree } from './tree.ts';
import { chooseVersion, type Language } from './versions.ts';

/** Images of Deno have no tag for a line, so each line stands for one release. */
const releases: Readonly<Record<string, string>> = { '2': '2.9.3', '1': '1.46.3' };
const language: Language = {
  key: 'deno',
  name: 'Deno',
  tools: ['deno'],
  files: ['.dvmrc', '.deno-version'],
  lines: ['2', '1'],
};
const configs = ['deno.json', 'deno.jsonc'];
const entries = ['main.ts', 'main.tsx', 'main.js', 'server.ts', 'server.js', 'mod.ts', 'app.ts', 'index.ts', 'src/main.ts', 'src/server.ts', 'src/index.ts']; // prettier-ignore
const tools = '.holdfast-deno';
/** Downloaded modules, beside the app so that the last stage has them. */
const cache = '.holdfast-deno-dir';

const task = z.union([z.string(), z.object({ command: z.string() }).transform(({ command }) => command)]).optional().catch(undefined); // prettier-ignore
const config = z.object({
  tasks: z.record(z.string(), task).optional().catch(undefined),
  imports: z.record(z.string(), z.string()).optional().catch(undefined),
  exports: z.string().optional().catch(undefined),
});
type Config = z.output<typeof config>;

export async function startsWithDeno(tree: PresetTree, _request: PlanRequest): Promise<string | undefined> {
  const file = await firstOf(tree, [...configs, 'deno.lock']);
  if (file !== undefined) return file;
  if (await tree.has('package.json')) return undefined;
  const entry = await firstOf(tree, entries);
  return entry !== undefined && /\bDeno\.|jsr:@|deno\.land\//.test((await tree.read(entry)) ?? '') ? entry : undefined;
}

export const deno: Preset = {
  async plan(tree, request): Promise<Plan> {
    const read = await readConfig(tree);
    const { version, reason } = await chooseVersion(tree, language, { request, folders: [''], declared: [] });
    const exact = request.settings.versions['deno'];
    const release = exact !== undefined && /^\d+\.\d+\.\d+$/.test(exact) ? exact : (releases[version] ?? version);
    const image = `denoland/deno:${release}`;
    const start = await findStart(tree, read);
    const hasBuild = read.tasks?.['build'] !== undefined;
    const file = await firstOf(tree, configs);
    return {
      preset: 'deno',
      title: [...(start?.framework === undefined ? [] : [start.framework]), `Deno ${release.split('.')[0]}`],
      reasons: [
        file ?? 'uses Deno',
        ...(start === undefined ? [] : [start.reason]),
        ...(reason === undefined ? [] : [reason]),
      ],
      dir: '',
      binaries: [`${tools}/node_modules/.bin`],
      build: {
        image,
        systemPackages: [],
        env: { DENO_DIR: cache },
        manifests: 'tree',
        install: [
          {
            words: ['npm', 'install', '--prefix', tools, '--no-audit', '--no-fund', `deno@${release}`],
            only: 'process',
          },
          ...(await installCommands(tree, start)),
        ],
        build: hasBuild ? [{ words: ['deno', 'task', 'build'] }] : [],
        prune: [],
      },
      run: {
        image,
        systemPackages: [],
        env: { DENO_DIR: cache, DENO_NO_UPDATE_CHECK: '1' },
        hostVariables: ['HOLDFAST_HOST'],
        fromBuild: [''],
        fromTree: [],
      },
      start:
        start === undefined
          ? { kind: 'none', missing: `deno.json has no "start" task and there is no ${entries.slice(0, 4).join(', ')}: add one, or set build.start` } // prettier-ignore
          : { kind: 'command', words: ['sh', '-c', start.text] },
      ignored: ['**/node_modules', tools, cache, '_fresh'],
    };
  },
};

interface DenoStart {
  readonly text: string;
  readonly entry: string | undefined;
  readonly reason: string;
  readonly framework?: string;
}

/** `Deno.serve` listens where this variable says. */
const listen = 'export DENO_SERVE_ADDRESS="tcp:$HOLDFAST_HOST:${PORT:-8080}"; exec';

async function findStart(
  tree: PresetTree,
  { tasks = {}, imports = {}, exports }: Config,
): Promise<DenoStart | undefined> {
  const isFresh = Object.keys(imports).some((name) => /^(?:\$fresh\/|fresh$|@fresh\/)/.test(name));
  const framework = isFresh ? { framework: 'Fresh' } : {};
  for (const name of ['start', 'start:prod', 'prod', 'serve', 'preview']) {
    const text = tasks[name];
    if (text === undefined || /--watch|--hot|\bdev\.ts\b|\bvite(?: dev)?\s*$/.test(text)) continue;
    const entry = /(?:^|\s)((?:\.\/)?[\w./-]+\.[cm]?[jt]sx?)(?:\s|$)/.exec(text)?.[1];
    const isServe = /^deno serve\b/.test(text) && !/--port/.test(text);
    const run = isServe
      ? text.replace(/^deno serve\b/, 'deno serve --port "${PORT:-8080}" --host "$HOLDFAST_HOST"')
      : text;
    const isPlain = /^deno (?:run|serve)\b[^;&|<>()`]*$/.test(text);
    return {
      text: isPlain ? `${listen} ${run}` : `${listen} deno task ${name}`,
      entry,
      reason: `deno.json: task ${name}`,
      ...framework,
    };
  }
  const entry = await firstOf(tree, [...(exports === undefined ? [] : [exports.replace(/^\.\//, '')]), ...entries]);
  if (entry === undefined) return undefined;
  const source = (await tree.read(entry)) ?? '';
  const isHandler = /^export default\b/m.test(source) && !/\bDeno\.serve\(|\.listen\(/.test(source);
  const text = isHandler
    ? `exec deno serve -A --port "\${PORT:-8080}" --host "$HOLDFAST_HOST" ${entry}`
    : `${listen} deno run -A ${entry}`;
  return { text, entry, reason: entry, ...framework };
}

async function installCommands(tree: PresetTree, start: DenoStart | undefined): Promise<PlanCommand[]> {
  const frozen = (await tree.has('deno.lock')) ? ['--frozen'] : [];
  const manifests = await allOf(tree, [...configs, 'package.json']);
  const entry =
    start?.entry !== undefined && (await tree.has(start.entry.replace(/^\.\//, ''))) ? start.entry : undefined;
  return [
    ...(manifests.length > 0 ? [{ words: ['deno', 'install', ...frozen] }] : []),
    ...(entry === undefined ? [] : [{ words: ['deno', 'cache', entry] }]),
  ];
}

async function readConfig(tree: PresetTree): Promise<Config> {
  const path = await firstOf(tree, configs);
  if (path === undefined) return {};
  const text = (await tree.read(path)) ?? '{}';
  try {
    return config.parse(JSON.parse(plainJson(text)));
  } catch (error) {
    throw new AppError('source_invalid', `${path} is not valid`, { phase: 'source', cause: error });
  }
}

/** Removes comments and trailing commas, outside of strings. */
function plainJson(text: string): string {
  return text
    .replaceAll(/"(?:[^"\\]|\\.)*"|\/\/[^\n]*|\/\*[^]*?\*\//g, (part) => (part.startsWith('"') ? part : ''))
    .replaceAll(/"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])/g, (part) => (part.startsWith('"') ? part : ''));
}
