/** The preset `go`: a go.mod or go.work, and the program in the root, in cmd/ or in a folder of its own. */
import { readGoFile } from './go-source.ts';
import { type Plan, type PlanRequest, type Preset, command, misfit } from './plan.ts';
import { allOf, at, filesIn, foldersIn, type PresetTree } from './tree.ts';
import { chooseVersion, type Language } from './versions.ts';

const language: Language = {
  key: 'go',
  name: 'Go',
  tools: ['golang', 'go'],
  files: ['.go-version'],
  lines: ['1.26', '1.25', '1.24', '1.23', '1.22', '1.21', '1.20', '1.19', '1.18'],
};
const ignored = ['**/*_test.go', '**/*.test', 'bin'];
/** Folders that programs often read at run time instead of embedding them. */
const assetFolders = ['assets', 'config', 'configs', 'content', 'data', 'html', 'i18n', 'locales', 'migrations', 'public', 'static', 'templates', 'tmpl', 'ui', 'views', 'web']; // prettier-ignore
/** If there are several programs, the first of these names is the app. */
const serverNames = ['server', 'web', 'app', 'api', 'main', 'svc', 'service', 'http', 'httpd', 'serve'];
const output = '.holdfast-bin/app';
/** Modules that are written in C; they are linked statically. */
const cModules = /^\s*(?:require\s+)?(github\.com\/(?:mattn\/go-sqlite3|confluentinc\/confluent-kafka-go\S*|h2non\/bimg|DataDog\/zstd|valyala\/gozstd|tecbot\/gorocksdb|marcboeker\/go-duckdb\S*))\s+v/m; // prettier-ignore
const maxFolders = 200;

interface Module {
  /** Relative to the tree. */
  readonly folder: string;
  readonly text: string;
}

export const go: Preset = {
  async plan(tree, request): Promise<Plan> {
    const modules = await readModules(tree);
    const programs = await findPrograms(tree, modules);
    const program = chooseProgram(programs, modules, request);
    const own = modules.filter(({ folder }) => folder === '' || at(program, '').startsWith(folder));
    const { version, reason } = await goVersion(tree, request, own);
    const cModule = own.map(({ text }) => cModules.exec(text)?.[1]).find((one) => one !== undefined);
    const importsC = await usesC(tree, program);
    const folders = await foldersIn(tree, '');
    const isVendored = folders.includes('vendor');
    const hasLocal = modules.some(({ text }) => /^\s*(?:replace\s+)?\S+(?:\s+v\S+)?\s+=>\s+\.{1,2}\//m.test(text));
    const hasRequired = modules.some(({ text }) => /^\s*require\b/m.test(text));
    const downloads = hasRequired && !hasLocal && !isVendored && !requiresOneAnother(modules);
    const cgo = cModule !== undefined || importsC;
    const paths = modules.flatMap(({ folder }) => [at(folder, 'go.mod'), at(folder, 'go.sum')]);
    return {
      preset: 'go',
      title: [`Go ${version}`],
      reasons: [
        `${modules.length > 1 ? 'go.work' : at(modules[0]?.folder ?? '', 'go.mod')}: builds ${packageOf(program)}`,
        ...(reason === undefined ? [] : [reason]),
        ...(cgo ? [`cgo is on: ${cModule ?? 'a file imports "C"'}`] : []),
      ],
      dir: '',
      binaries: [],
      build: {
        image: `golang:${version}`,
        systemPackages: [],
        env: { CGO_ENABLED: cgo ? '1' : '0' },
        manifests: downloads ? await allOf(tree, ['go.work', 'go.work.sum', ...paths]) : 'tree',
        install: downloads ? [command('go', 'mod', 'download')] : [],
        build: [
          command('go', 'build', ...flags(cgo), '-o', output, packageOf(program)),
          { words: ['mkdir', '-p', '-m', '1777', '/out/tmp'], only: 'image' },
        ],
        prune: [],
      },
      run: {
        // Nothing but the program, /tmp, and what TLS needs, taken from the stage before: no second base image to fetch.
        image: request.settings.systemPackages.length > 0 ? 'debian:bookworm-slim' : 'scratch',
        systemPackages: [],
        env: {},
        hostVariables: [],
        fromBuild: ['.holdfast-bin'],
        fromTree: [...assetFolders.filter((name) => folders.includes(name)), ...(await rootAssets(tree))],
        fromBuildImage: [
          { from: '/etc/ssl/certs/ca-certificates.crt', to: '/etc/ssl/certs/' },
          { from: '/out', to: '/' },
        ],
      },
      start: { kind: 'command', words: [`./${output}`] },
      ignored,
    };
  },
};

/** timetzdata: the last stage has no time zones of its own. A program with C in it is linked statically, for the same reason. */
function flags(cgo: boolean): string[] {
  const tags = cgo ? 'timetzdata,netgo,osusergo,sqlite_omit_load_extension' : 'timetzdata';
  const link = cgo ? '-s -w -linkmode external -extldflags -static' : '-s -w';
  return ['-trimpath', '-tags', tags, '-ldflags', link];
}

const packageOf = (folder: string): string => (folder === '' ? '.' : `./${folder}`);

/** Whether a module of the workspace requires another one of it, which no proxy has: `go mod download` would ask for it. */
function requiresOneAnother(modules: readonly Module[]): boolean {
  const names = modules.flatMap(({ text }) => /^\s*module\s+"?([^\s"]+)/m.exec(text)?.[1] ?? []);
  return modules.some(({ text }) =>
    [...text.matchAll(/^\s*(?:require\s+)?([^\s"]+)\s+v\d/gm)].some(([, name = '']) => names.includes(name)),
  );
}

async function readModules(tree: PresetTree): Promise<Module[]> {
  const work = await tree.read('go.work');
  const mod = await tree.read('go.mod');
  if (work === undefined) {
    if (mod === undefined) throw misfit('there is no go.mod: run `go mod init`');
    return [{ folder: '', text: mod }];
  }
  const uses = [...work.matchAll(/^\s*(?:use\s+)?"?(\.[\w@./-]*)"?\s*$/gm)].map(([, path]) => (path ?? '').replace(/^\.\/?/, '').replace(/\/$/, '')); // prettier-ignore
  const modules: Module[] = [];
  for (const folder of uses.filter((path) => !path.split('/').includes('..'))) {
    const text = await tree.read(at(folder, 'go.mod'));
    if (text !== undefined) modules.push({ folder, text });
  }
  if (modules.length === 0) throw misfit('go.work uses no folder that has a go.mod: run `go work use`');
  return modules;
}

/** Versions in go.mod are the least that the module needs. */
function goVersion(
  tree: PresetTree,
  request: PlanRequest,
  modules: readonly Module[],
): ReturnType<typeof chooseVersion> {
  const least = modules
    .flatMap(({ folder, text }) => {
      const found = /^toolchain\s+go(\d+\.\d+)/m.exec(text)?.[1] ?? /^go\s+(\d+\.\d+)/m.exec(text)?.[1];
      return found === undefined ? [] : [{ folder, found }];
    })
    .toSorted((a, b) => Number(b.found.split('.')[1]) - Number(a.found.split('.')[1]))[0];
  const [newest = ''] = language.lines;
  const isNewer = least !== undefined && Number(least.found.split('.')[1]) > Number(newest.split('.')[1]);
  const text = least === undefined ? undefined : isNewer ? least.found : `>=${least.found}`;
  const declared = text === undefined ? undefined : { text, from: at(least?.folder ?? '', 'go.mod') };
  return chooseVersion(tree, language, { request, folders: [''], declared: [declared] });
}

/** The folders with a program, relative to the tree. */
async function findPrograms(tree: PresetTree, modules: readonly Module[]): Promise<string[]> {
  const found: string[] = [];
  for (const { folder } of modules) {
    if (await isProgram(tree, folder)) found.push(folder);
    const waiting = (await codeFolders(tree, folder)).map((path) => ({ path, depth: 1 }));
    for (let seen = 0; seen < maxFolders; seen += 1) {
      const next = waiting.shift();
      if (next === undefined) break;
      if (await isProgram(tree, next.path)) found.push(next.path);
      if (next.depth < 3) waiting.push(...(await codeFolders(tree, next.path)).map((path) => ({ path, depth: next.depth + 1 }))); // prettier-ignore
    }
  }
  return [...new Set(found)];
}

async function codeFolders(tree: PresetTree, folder: string): Promise<string[]> {
  const names = await foldersIn(tree, folder);
  const isCode = (name: string): boolean =>
    /^[\w-][\w.-]*$/.test(name) && !/^(?:vendor|testdata|test|tests|examples?|internal|docs?|node_modules|tools|scripts|hack|e2e|third_party|_.*)$/.test(name); // prettier-ignore
  return names.filter(isCode).map((name) => at(folder, name));
}

/** @throws AppError dockerfile_invalid if there is no program, or several candidates. */
function chooseProgram(programs: readonly string[], modules: readonly Module[], { settings }: PlanRequest): string {
  const { dir } = settings;
  if (dir !== undefined) {
    const inside = programs.filter((path) => path === dir || path.startsWith(`${dir}/`));
    if (inside.length === 0) throw misfit(`no \`package main\` is in ${dir}, which build.dir names`);
    return best(inside, modules);
  }
  if (programs.length === 0)
    throw misfit('no `package main` is in the root or in cmd/*: add one, or give the app a Dockerfile');
  return best(programs, modules);
}

function best(programs: readonly string[], modules: readonly Module[]): string {
  const root = programs.find((path) => path === '');
  if (root !== undefined) return root;
  // cmd/ is where programs are; those elsewhere are often helpers.
  const commands = programs.filter((path) => /(?:^|\/)cmd(?:\/|$)/.test(path));
  const candidates = commands.length > 0 ? commands : programs;
  const [only, ...more] = candidates;
  if (only !== undefined && more.length === 0) return only;
  const names = [...serverNames, ...modules.map(({ text }) => (/^module\s+"?(\S+?)"?\s*$/m.exec(text)?.[1] ?? '').split('/').at(-1) ?? '')]; // prettier-ignore
  for (const name of names) {
    const found = candidates.filter((path) => path.split('/').at(-1) === name);
    if (found.length === 1 && found[0] !== undefined) return found[0];
  }
  const shown = candidates.map((path) => path.replace(/^cmd\//, '')).join(', ');
  throw misfit(
    `there are several programs (${shown}): set build.dir to the folder of the app server, name it \`server\`, or give the app a Dockerfile`,
  );
}

async function goFiles(tree: PresetTree, folder: string): Promise<ReturnType<typeof readGoFile>[]> {
  const files: ReturnType<typeof readGoFile>[] = [];
  for (const name of await filesIn(tree, folder)) {
    if (!name.endsWith('.go') || name.endsWith('_test.go') || /^[._]/.test(name)) continue;
    files.push(readGoFile(name, (await tree.read(at(folder, name))) ?? ''));
  }
  return files;
}

async function isProgram(tree: PresetTree, folder: string): Promise<boolean> {
  return (await goFiles(tree, folder)).some((file) => file.isBuilt && file.package === 'main');
}

async function usesC(tree: PresetTree, folder: string): Promise<boolean> {
  return (await goFiles(tree, folder)).some((file) => file.isBuilt && file.importsC);
}

/** Pages in the root that a program may read. */
async function rootAssets(tree: PresetTree): Promise<string[]> {
  return (await filesIn(tree, '')).filter((name) => /^[\w-]+\.(?:html|gohtml|tmpl)$/.test(name));
}
