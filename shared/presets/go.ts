/** The preset `go`: a go.mod, and the program in the root or in cmd/. */
import { type Plan, type Preset, command, misfit } from './plan.ts';
import { allOf, at, filesIn, foldersIn, type PresetTree } from './tree.ts';

const base = 'golang:1.26';
const ignored = ['**/*_test.go', '**/*.test', 'bin'];
/** Folders that programs often read at run time instead of embedding them. */
const assetFolders = ['assets', 'public', 'static', 'templates', 'views', 'web'];
/** If cmd/ has several programs, the first of these names is the app. */
const serverNames = ['server', 'web', 'app', 'api', 'main'];
const output = '.holdfast-bin/app';

export const go: Preset = {
  async plan(tree): Promise<Plan> {
    const mod = await tree.read('go.mod');
    if (mod === undefined) throw misfit('there is no go.mod: run `go mod init`');
    const folders = await foldersIn(tree, '');
    const hasLocal = /^\s*(?:replace\s+)?\S+(?:\s+v\S+)?\s+=>\s+\.{1,2}\//m.test(mod);
    const requires = /^\s*require\b/m.test(mod);
    // Not if there are none, or they are in the tree.
    const downloads = requires && !hasLocal && !folders.includes('vendor');
    const program = await findProgram(tree, /^module\s+"?(\S+?)"?\s*$/m.exec(mod)?.[1] ?? '');
    const flags = ['-trimpath', '-tags', 'timetzdata', '-ldflags', '-s -w'];
    return {
      preset: 'go',
      title: ['Go 1.26'],
      reasons: ['go.mod', `builds ${program}`],
      dir: '',
      binaries: [],
      build: {
        image: base,
        systemPackages: [],
        env: { CGO_ENABLED: '0' },
        manifests: downloads ? await allOf(tree, ['go.mod', 'go.sum']) : 'tree',
        install: downloads ? [command('go', 'mod', 'download')] : [],
        build: [
          command('go', 'build', ...flags, '-o', output, program),
          { words: ['mkdir', '-p', '-m', '1777', '/out/tmp'], only: 'image' },
        ],
        prune: [],
      },
      run: {
        // Nothing but the program, /tmp, and what TLS needs, taken from the stage before: no second base image to fetch.
        image: 'scratch',
        systemPackages: [],
        env: {},
        hostVariables: [],
        fromBuild: ['.holdfast-bin'],
        fromTree: assetFolders.filter((name) => folders.includes(name)),
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

/** @throws AppError dockerfile_invalid if there is no program, or several candidates. */
async function findProgram(tree: PresetTree, module: string): Promise<string> {
  if (await isProgram(tree, '')) return '.';
  const programs: string[] = [];
  for (const name of await foldersIn(tree, 'cmd')) {
    if (/^[\w.-]+$/.test(name) && (await isProgram(tree, `cmd/${name}`))) programs.push(name);
  }
  const wanted = [...serverNames, module.split('/').at(-1) ?? ''];
  const found = programs.length === 1 ? programs[0] : wanted.find((name) => programs.includes(name));
  if (found !== undefined) return `./cmd/${found}`;
  throw misfit(
    programs.length === 0
      ? 'no `package main` is in the root or in cmd/*: add one, or give the app a Dockerfile'
      : `cmd/ has several programs (${programs.join(', ')}): name the one that is the app server, or give the app a Dockerfile`,
  );
}

async function isProgram(tree: PresetTree, folder: string): Promise<boolean> {
  for (const name of await filesIn(tree, folder)) {
    if (!name.endsWith('.go') || name.endsWith('_test.go')) continue;
    if (/^package main\b/m.test((await tree.read(at(folder, name))) ?? '')) return true;
  }
  return false;
}
