/** The preset `rust`: a Cargo package or workspace with a program, in an image that has little more than the program. */
import { needsTool } from '../machine-tools.ts';
import { type Plan, type PlanCommand, type PlanRequest, type Preset, command, misfit } from '../plan.ts';
import { toolVersions } from '../version-files.ts';
import { type PresetTree, at, firstOf, foldersIn } from '../tree.ts';
import { seriesOf } from '../series.ts';
import { type CargoPackage, type RustProject, readRustProject } from './project.ts';

const out = '.holdfast-app';
/** Folders and files that programs often read at run time instead of embedding them. */
const assets = ['assets', 'public', 'static', 'templates', 'views', 'web', 'migrations', 'config', 'locales', 'dist'];
const assetFiles = ['Rocket.toml', 'config.toml', 'Config.toml', 'Settings.toml'];

/** Debian's packages for crates that build or link C. */
const packages: readonly (readonly [crates: readonly string[], names: readonly string[]])[] = [
  [
    ['openssl-sys', 'native-tls', 'openssl'],
    ['pkg-config', 'libssl-dev'],
  ],
  [['pq-sys'], ['pkg-config', 'libpq-dev']],
  [['mysqlclient-sys'], ['pkg-config', 'default-libmysqlclient-dev']],
  [['libsqlite3-sys'], ['pkg-config', 'libsqlite3-dev']],
  [
    ['aws-lc-sys', 'rdkafka-sys', 'libz-ng-sys', 'grpcio-sys'],
    ['cmake', 'g++', 'make'],
  ],
  [['prost-build', 'tonic-build'], ['protobuf-compiler']],
  [
    ['bindgen', 'librocksdb-sys', 'rocksdb'],
    ['clang', 'libclang-dev', 'g++', 'make'],
  ],
  [['zstd-sys', 'tikv-jemalloc-sys'], ['make']],
];

export const rustFile = (tree: PresetTree): Promise<string | undefined> => firstOf(tree, ['Cargo.toml']);

export const rust: Preset = {
  async plan(tree, request): Promise<Plan> {
    const dir = request.settings.dir ?? '';
    await refuseFrontEnds(tree, dir);
    const project = await readRustProject(tree, dir);
    const version = await rustVersion(tree, dir, project, request);
    const isRocket = project.crates.has('rocket');
    const folders = await foldersIn(tree, project.folder);
    const files: string[] = [];
    for (const file of assetFiles) if (await tree.has(at(project.folder, file))) files.push(file);
    return {
      preset: 'rust',
      title: [framework(project), `Rust ${version.name}`].filter((one) => one !== undefined),
      reasons: [`Cargo.toml: the program ${project.program} of the package ${project.package}`, version.reason],
      notes: [],
      dir: project.folder,
      binaries: [],
      build: {
        image: `rust:${version.name}-slim-bookworm`,
        systemPackages: [
          ...new Set(
            packages.flatMap(([crates, names]) => (crates.some((crate) => project.crates.has(crate)) ? names : [])),
          ),
        ],
        env: { CARGO_TARGET_DIR: 'target' },
        manifests: project.manifests,
        install: [needsTool('cargo', 'Rust (cargo)'), ...dependencies(project)],
        build: [...compile(project), ...(isRocket ? [] : [libraries])],
        prune: [],
        installTexts: [JSON.stringify(project.root)],
      },
      run: {
        image: isRocket ? 'debian:bookworm-slim' : 'scratch',
        systemPackages: isRocket
          ? [
              'ca-certificates',
              ...(project.crates.has('openssl-sys') ? ['libssl3'] : []),
              ...(project.crates.has('pq-sys') ? ['libpq5'] : []),
            ]
          : [],
        env: isRocket ? {} : { SSL_CERT_FILE: '/etc/ssl/certs/ca-certificates.crt' },
        hostVariables: ['HOST', ...(isRocket ? ['ROCKET_ADDRESS'] : [])],
        fromBuild: [out],
        fromTree: [...folders.filter((name) => assets.includes(name)), ...files].map((name) =>
          at(project.folder, name),
        ),
        ...(isRocket ? {} : { fromBuildImage: [{ from: `/app/${root}/`, to: '/' }] }),
      },
      start: {
        kind: 'command',
        words: isRocket ? ['sh', '-c', `ROCKET_PORT="$PORT" exec ${program(project)}`] : [program(project)],
      },
      ignored: ['**/target', `**/${out}`, `**/${root}`],
    };
  },
};

/** The program runs in the folder of its package, where it finds its files; the path is from there. */
function program({ folder }: RustProject): string {
  const up = folder === '' ? './' : '../'.repeat(folder.split('/').length);
  return `${up}${out}/app`;
}

const root = '.holdfast-root';

/** What the program needs of the build image: its libraries, certificates, a /tmp. */
const libraries: PlanCommand = {
  ...command(
    'sh',
    '-c',
    `mkdir -p ${root}/etc/ssl/certs && mkdir -m 1777 ${root}/tmp && cp /etc/ssl/certs/ca-certificates.crt ${root}/etc/ssl/certs/ && (ldd ${out}/app || true) | grep -o '/[^ )]*' | sort -u | xargs -r -I{} cp -L --parents {} ${root}`,
  ),
  title: 'collect its libraries',
  only: 'image',
};

/** Builds the dependencies with empty sources in place of the packages' own, so that their layer is cached. */
function dependencies({ packages: all, hasLock }: RustProject): PlanCommand[] {
  const made = all.flatMap(({ folder, roots }) =>
    roots.filter((file) => /^[\w./-]+$/.test(file)).map((file) => at(folder, file)),
  );
  const folders = [...new Set(made.map((path) => path.slice(0, path.lastIndexOf('/'))).filter((path) => path !== ''))];
  const bins = all.flatMap(binFiles);
  const every = [...new Set([...made, ...bins])];
  const binFolders = [...new Set(bins.map((path) => path.slice(0, path.lastIndexOf('/'))))];
  const text = [
    `mkdir -p ${[...new Set([...folders, ...binFolders])].join(' ')}`,
    `for f in ${every.join(' ')}; do case $f in *lib.rs) : > $f;; *) echo 'fn main() {}' > $f;; esac; done`,
    `(cargo build --release${hasLock ? ' --locked' : ''} || true)`,
    `rm -f ${every.join(' ')}`,
  ].join(' && ');
  return [{ ...command('sh', '-c', text), title: 'build the dependencies', only: 'image' }];
}

/** Programs in src/bin are files of their own. */
function binFiles({ folder, cargo, programs }: CargoPackage): string[] {
  return programs
    .filter(
      (name) =>
        name !== cargo.package?.name && !(cargo.bin ?? []).some((one) => one.name === name && one.path !== undefined),
    )
    .map((name) => at(folder, `src/bin/${name}.rs`));
}

function compile({ package: name, program: bin, hasLock }: RustProject): PlanCommand[] {
  return [
    // Cargo compares times: sources that come without one would be older than the empty ones.
    {
      ...command('find', '.', '-name', '*.rs', '-not', '-path', './target/*', '-exec', 'touch', '{}', '+'),
      only: 'image',
    },
    command('cargo', 'build', '--release', ...(hasLock ? ['--locked'] : []), '--package', name, '--bin', bin),
    { ...command('sh', '-c', `mkdir -p ${out} && cp "target/release/${bin}" ${out}/app`), title: 'take the program' },
  ];
}

function framework({ crates }: RustProject): string | undefined {
  const known: Readonly<Record<string, string>> = {
    loco: 'Loco',
    'loco-rs': 'Loco',
    rocket: 'Rocket',
    'actix-web': 'Actix Web',
    axum: 'axum',
    warp: 'warp',
    poem: 'Poem',
    salvo: 'Salvo',
    tide: 'Tide',
    hyper: 'hyper',
  };
  return Object.entries(known).find(([crate]) => crates.has(crate))?.[1];
}

async function refuseFrontEnds(tree: PresetTree, dir: string): Promise<void> {
  const index = (await tree.read(at(dir, 'index.html'))) ?? '';
  const tools: readonly (readonly [name: string, isUsed: boolean])[] = [
    ['Trunk', (await tree.has(at(dir, 'Trunk.toml'))) || /data-trunk/.test(index)],
    ['Dioxus', await tree.has(at(dir, 'Dioxus.toml'))],
    [
      'Leptos',
      /\[(?:workspace|package)\.?metadata\.leptos|\[\[workspace\.metadata\.leptos/.test(
        (await tree.read(at(dir, 'Cargo.toml'))) ?? '',
      ),
    ],
  ];
  const used = tools.find(([, isUsed]) => isUsed)?.[0];
  if (used !== undefined) {
    throw misfit(
      `${used} builds for WebAssembly, which presets do not do: build the site, deploy the folder that it makes with \`output\`, or give the app a Dockerfile`,
    );
  }
}

async function rustVersion(
  tree: PresetTree,
  dir: string,
  { root: cargo, packages: all }: RustProject,
  { settings }: PlanRequest,
): Promise<{ name: string; reason: string }> {
  const toolchain =
    (await tree.read(at(dir, 'rust-toolchain.toml'))) ??
    (await tree.read(at(dir, 'rust-toolchain'))) ??
    (await tree.read('rust-toolchain.toml')) ??
    (await tree.read('rust-toolchain'));
  const channel =
    /channel\s*=\s*["']([^"']+)["']/.exec(toolchain ?? '')?.[1] ??
    (toolchain?.includes('=') === false ? toolchain.trim() : undefined);
  const least =
    cargo.workspace?.package?.['rust-version'] ??
    all.map(({ cargo: one }) => one.package?.['rust-version']).find((one) => typeof one === 'string');
  const wanted: (readonly [string, string | undefined])[] = [
    ['build.rust', settings.versions['rust']],
    ['rust-toolchain', channel],
    ...(await toolVersions(tree, [dir], ['rust'])),
  ];
  for (const [file, text] of wanted) {
    const series = /^\d/.test(text ?? '') ? seriesOf(text ?? '', 3) : undefined;
    if (series !== undefined) return { name: series, reason: `${file}: Rust ${series}` };
    if (text !== undefined && text !== 'stable')
      return { name: '1', reason: `${file}: rustup fetches ${/^[\w.-]+$/.test(text) ? text : 'the channel'}` };
  }
  // The newest compiler builds what an older one does.
  return {
    name: '1',
    reason:
      typeof least === 'string'
        ? `Cargo.toml: Rust ${least} or newer`
        : 'the newest Rust 1, since no file asks for another',
  };
}
