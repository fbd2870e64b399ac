/** The preset `go`: a go.mod, and the program in the root or in cmd/. */
import { copy, exec, generatedBy, ignoreFile, run, text } from './dockerfile.ts';
import { type Preset, type PresetTree, appUser, defaultPort, misfit } from './preset.ts';

const base = 'golang:1.26';
const ignored = ['**/*_test.go', '**/*.test', 'bin'];
/** Folders that programs often read at run time instead of embedding them. */
const assetFolders = ['assets', 'public', 'static', 'templates', 'views', 'web'];
/** If cmd/ has several programs, the first of these names is the app. */
const serverNames = ['server', 'web', 'app', 'api', 'main'];
const output = '.holdfast-bin/app';

interface GoProject {
  /** The package of the program: `.` or `./cmd/x`. */
  readonly program: string;
  readonly manifests: readonly string[];
  /** Whether modules are downloaded before the tree is copied; not if there are none, or they are in the tree. */
  readonly downloads: boolean;
  readonly assets: readonly string[];
}

export const go: Preset = {
  async files(tree) {
    const project = await readGoProject(tree);
    return {
      dockerfile: dockerfile(project),
      files: await ignoreFile(tree, ignored),
      found: ['go.mod', `builds ${project.program}`],
    };
  },

  async command(tree) {
    const { program } = await readGoProject(tree);
    return {
      install: [['go', 'build', '-o', output, program]],
      run: [`./${output}`],
      cwd: '',
      binaries: [],
      env: { CGO_ENABLED: '0' },
    };
  },
};

async function readGoProject(tree: PresetTree): Promise<GoProject> {
  const mod = await tree.read('go.mod');
  if (mod === undefined) throw misfit('there is no go.mod: run `go mod init`');
  const manifests: string[] = [];
  for (const file of ['go.mod', 'go.sum']) if (await tree.has(file)) manifests.push(file);
  const folders = (await tree.list('')).filter(({ kind }) => kind === 'folder').map(({ name }) => name);
  const hasLocal = /^\s*(?:replace\s+)?\S+(?:\s+v\S+)?\s+=>\s+\.{1,2}\//m.test(mod);
  const requires = /^\s*require\b/m.test(mod);
  return {
    program: await findProgram(tree, /^module\s+"?(\S+?)"?\s*$/m.exec(mod)?.[1] ?? ''),
    manifests,
    downloads: requires && !hasLocal && !folders.includes('vendor'),
    assets: assetFolders.filter((name) => folders.includes(name)),
  };
}

/** @throws AppError dockerfile_invalid if there is no program, or several candidates. */
async function findProgram(tree: PresetTree, module: string): Promise<string> {
  if (await isProgram(tree, '')) return '.';
  const programs: string[] = [];
  for (const { name, kind } of await tree.list('cmd')) {
    if (kind === 'folder' && /^[\w.-]+$/.test(name) && (await isProgram(tree, `cmd/${name}`))) programs.push(name);
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
  for (const { name, kind } of await tree.list(folder)) {
    if (kind !== 'file' || !name.endsWith('.go') || name.endsWith('_test.go')) continue;
    const source = await tree.read(folder === '' ? name : `${folder}/${name}`);
    if (/^package main\b/m.test(source ?? '')) return true;
  }
  return false;
}

function dockerfile({ program, manifests, downloads, assets }: GoProject): string {
  return text([
    ...generatedBy('go', 'A Go program, linked statically.'),
    `FROM ${base} AS build`,
    'WORKDIR /src',
    ...(downloads ? [copy(manifests, './'), 'RUN go mod download'] : []),
    'COPY . ./',
    '# timetzdata: the last stage has no time zones of its own.',
    run(
      ['mkdir', '-p', '-m', '1777', '/out/tmp'],
      [
        'CGO_ENABLED=0',
        'go',
        'build',
        '-trimpath',
        '-tags',
        'timetzdata',
        '-ldflags',
        '-s -w',
        '-o',
        '/out/app/app',
        program,
      ],
    ),
    '',
    '# Nothing but the program, /tmp, and what TLS needs, taken from the stage before: no second base image to fetch.',
    'FROM scratch',
    `ENV PORT=${defaultPort} HOME=/tmp`,
    'COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/',
    'COPY --from=build /out /',
    'WORKDIR /app',
    ...assets.map((folder) => copy([folder], `./${folder}/`)),
    '# A number: there are no names here.',
    `USER ${appUser}`,
    `EXPOSE ${defaultPort}`,
    `CMD ${exec(['/app/app'])}`,
  ]);
}
