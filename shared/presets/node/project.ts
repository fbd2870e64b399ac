/** What a Node.js repository is: its manager, its workspaces, the app among them, and how that is started. */
import { misfit, type PlanRequest } from '../plan.ts';
import { at, firstOf, type PresetTree } from '../tree.ts';
import { type NodeApp, nodeApp } from './app.ts';
import { type FoundFramework, findFramework } from './frameworks.ts';
import { type Manifest, emptyManifest, readManifest } from './manifest.ts';
import { type PackageManager, findManager } from './manager.ts';
import { bare, commandsOf, isDevServer, servesFiles, unwatched } from './scripts.ts';
import { startWords } from './start.ts';
import { type Workspaces, findWorkspaces } from './workspaces.ts';

export interface NodeProject {
  readonly root: Manifest;
  readonly manager: PackageManager;
  readonly workspaces: Workspaces;
  readonly app: NodeApp;
  readonly framework: FoundFramework | undefined;
  readonly start: NodeStart;
}

/** How the app is started, in its own folder. */
export type NodeStart =
  | { readonly kind: 'words'; readonly words: readonly string[]; readonly text: string; readonly reason: string }
  /** By what the framework's build makes. */
  | { readonly kind: 'framework'; readonly reason: string }
  /** Folders in which the built site may be. */
  | {
      readonly kind: 'site';
      readonly folders: readonly string[];
      readonly spa: boolean | 'auto';
      readonly reason: string;
    }
  /** `missing` says why, if it is known. */
  | { readonly kind: 'none'; readonly missing?: string };

const serverFiles = ['server.js', 'server.mjs', 'server.cjs', 'server.ts'];
const indexFiles = ['index.js', 'index.mjs', 'index.cjs', 'index.ts'];
const startScripts = ['start', 'start:prod', 'start:production', 'serve:prod', 'prod'];
/** The usual output folders of builds whose framework is not known. */
const builtFolders = ['dist', 'build', 'out', '_site', 'public'];

/** @throws AppError source_invalid if a package.json is invalid, dockerfile_invalid if it is not clear which package is the app. */
export async function readNodeProject(tree: PresetTree, request: PlanRequest): Promise<NodeProject> {
  const { root, workspaces, ...found } = await findNodeApp(tree, request);
  const manager = await findManager(tree, root, request.settings.install !== undefined);
  return { root, manager, workspaces, ...found };
}

/** The same without the package manager. @throws AppError as `readNodeProject` */
export async function findNodeApp(tree: PresetTree, request: PlanRequest): Promise<Omit<NodeProject, 'manager'>> {
  const root = (await readManifest(tree, '')) ?? emptyManifest;
  const workspaces = await findWorkspaces(tree, root);
  return { root, workspaces, ...(await chooseApp({ tree, request, root, workspaces })) };
}

interface Apps {
  readonly tree: PresetTree;
  readonly request: PlanRequest;
  readonly root: Manifest;
  readonly workspaces: Workspaces;
}

type FoundApp = Pick<NodeProject, 'app' | 'framework' | 'start'>;

/** The folder that the app names; else the package that the root's start script names, the root, or the only one that can be started. */
async function chooseApp(apps: Apps): Promise<FoundApp> {
  const { request, root, workspaces } = apps;
  const { dir } = request.settings;
  if (dir !== undefined) {
    if (!workspaces.has(dir)) {
      const known = [...workspaces.keys()].join(', ');
      throw misfit(
        `build.dir is ${dir}, which is no package of the workspace${known === '' ? '' : ` (${known})`}: for a folder that stands for itself, set \`dir\` of the app instead`,
      );
    }
    return startOf(appAt(apps, dir));
  }
  const named = namedByScript(root, workspaces);
  if (named !== undefined) return startOf(appAt(apps, named));
  const own = await startOf(appAt(apps, ''));
  if (own.start.kind !== 'none' || workspaces.size === 0) return own;
  const all: FoundApp[] = [];
  for (const folder of workspaces.keys()) all.push(await startOf(appAt(apps, folder)));
  const scripted = all.filter(({ app, start }) => start.kind === 'words' && startScripts.some((name) => app.scripts[name] !== undefined)); // prettier-ignore
  const servers = [...scripted, ...all.filter(({ start }) => start.kind === 'framework')];
  const candidates = servers.length > 0 ? servers : all.filter(({ start }) => start.kind === 'site');
  if (candidates.length > 1) {
    const names = candidates.map(({ app }) => app.dir).join(', ');
    const missing = `several workspaces have a start script or a site (${names}): set build.dir to the one that is the app, or give the root package.json a start script`;
    return { ...own, start: { kind: 'none', missing } };
  }
  return candidates[0] ?? own;
}

function appAt({ tree, request, root, workspaces }: Apps, dir: string): NodeApp {
  return nodeApp({ tree, request, dir, root, manifest: dir === '' ? root : (workspaces.get(dir) ?? emptyManifest) });
}

/** Reads scripts such as `npm start -w web`, `pnpm --filter web start`, `yarn workspace web start` and `turbo run start --filter=web`. */
function namedByScript({ scripts }: Manifest, workspaces: Workspaces): string | undefined {
  const text = scripts['start'] ?? '';
  const name =
    /(?:^| )(?:--workspace|-w|--filter|-F|--scope|--project)[ =]['"]?([\w@./-]+)/.exec(text)?.[1] ??
    /^yarn workspace ([\w@./-]+)/.exec(text)?.[1] ??
    /^nx (?:serve|start|run) ([\w@/-]+)/.exec(text)?.[1];
  if (name === undefined) return undefined;
  const plain = name.replace(/^\.\//, '').replace(/\.\.\.$/, '');
  for (const [folder, manifest] of workspaces) if (folder === plain || manifest.name === plain) return folder;
  return undefined;
}

async function startOf(app: NodeApp): Promise<FoundApp> {
  const framework = await findFramework(app);
  return { app, framework, start: await startBy(app, framework) };
}

async function startBy(app: NodeApp, framework: FoundFramework | undefined): Promise<NodeStart> {
  const { scripts } = app;
  const candidates = startScripts.filter((name) => scripts[name] !== undefined);
  const usable = candidates.find((name) => !isDevServer(scripts, scripts[name] ?? ''));
  const text = usable === undefined ? undefined : (scripts[usable] ?? '');
  const last = text === undefined ? '' : bare(commandsOf(scripts, text).at(-1) ?? '');
  if (framework !== undefined) {
    const isOwn = text === undefined || framework.framework.own.test(last) || servesFiles(scripts, text);
    const hasServer = text === undefined && (await hasServerFile(app));
    if (isOwn && !hasServer && (text === undefined || framework.plan.overrides === true)) {
      const found = frameworkStart(framework);
      if (found !== undefined) return found;
    }
  }
  const build = buildScripts(app);
  if (text !== undefined && usable !== undefined) {
    if (build.length > 0 && servesFiles(scripts, text)) return servedBy(text, last);
    const shown = unwatched(text);
    const words = startWords(shown === text ? scripts : { ...scripts, [usable]: shown }, usable);
    return { kind: 'words', words, text: shown, reason: `package.json: script ${usable}` };
  }
  const file = await entryFile(app, build.length > 0);
  if (file !== undefined && (candidates.length === 0 || build.length === 0))
    return { kind: 'words', words: ['node', file], text: `node ${file}`, reason: at(app.dir, file) };
  if (build.length > 0) {
    const reason =
      candidates.length === 0
        ? 'package.json has a build script and no start script: a site'
        : `script ${candidates[0]} runs a development server: its site is built and served`;
    return { kind: 'site', folders: builtFolders, spa: 'auto', reason };
  }
  const [first] = candidates;
  if (first === undefined) return { kind: 'none' };
  const missing = `the ${first} script runs a development server (${scripts[first]}), and there is no build script: add one, or a "start:prod" script, or set build.build and build.output`;
  return { kind: 'none', missing };
}

function frameworkStart({ plan, title }: FoundFramework): NodeStart | undefined {
  if (plan.site !== undefined)
    return { kind: 'site', folders: plan.site, spa: plan.spa ?? 'auto', reason: `${title} builds a site` };
  return plan.start === undefined ? undefined : { kind: 'framework', reason: `${title} builds a server` };
}

/** `serve -s build` names the folder, and that navigations get its index.html. */
function servedBy(text: string, command: string): NodeStart {
  const folder = /^(?:serve|http-server|sirv)\b(?:.*\s)?(?:\.\/)?((?!-)[\w-][\w./-]*)(?:\s|$)/.exec(command.replace(/ (?:-l|-p|--listen|--port|-a)[ =]\S+/g, ''))?.[1]; // prettier-ignore
  const isSpa = /\s(?:-s|--single|--spa)\b/.test(command);
  const folders = folder === undefined || /^\d/.test(folder) ? builtFolders : [folder.replace(/\/$/, '')];
  return { kind: 'site', folders, spa: isSpa ? true : 'auto', reason: `the start script serves files: ${text}` };
}

/** The scripts that build the app. Heroku and Google Cloud run theirs in place of `build`. */
export function buildScripts({ scripts }: NodeApp): string[] {
  const build = ['heroku-postbuild', 'gcp-build', 'build'].find((name) => scripts[name] !== undefined);
  const before = scripts['prestart'];
  const repeats = before !== undefined && build !== undefined && new RegExp(`\\b${build}\\b`).test(before);
  return [...(build === undefined ? [] : [build]), ...(before === undefined || repeats ? [] : ['prestart'])];
}

const servers = ['express', 'fastify', 'koa', 'hono', 'h3', '@hapi/hapi', 'polka', 'restify'];

/** Whether an app without a start script has a server of its own beside the framework for its pages. */
async function hasServerFile(app: NodeApp): Promise<boolean> {
  if (!servers.some((name) => app.manifest.dependencies[name] !== undefined)) return false;
  return (await firstOf(app.tree, serverFiles.map((file) => at(app.dir, file)))) !== undefined; // prettier-ignore
}

async function entryFile(app: NodeApp, isBuilt: boolean): Promise<string | undefined> {
  const main = app.manifest.main?.replace(/^\.\//, '');
  // A script beside an index.html runs in browsers.
  const index = (await app.has('index.html')) && !(await app.has('package.json')) ? [] : indexFiles;
  for (const file of [...(main === undefined ? [] : [main]), ...serverFiles, ...index])
    if (await app.has(file)) return file;
  const isOutput = main !== undefined && /^(?:dist|build|lib|out)\/[\w./-]+\.[cm]?js$/.test(main);
  return isBuilt && isOutput && servers.some((name) => app.manifest.dependencies[name] !== undefined)
    ? main
    : undefined;
}
