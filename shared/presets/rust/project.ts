/** Reads Cargo.toml files: the packages of a workspace and the programs that they make. */
import { parse } from 'smol-toml';
import { z } from 'zod';
import { AppError } from '../../errors.ts';
import { misfit } from '../plan.ts';
import { type PresetTree, allOf, at, filesIn, foldersIn } from '../tree.ts';

const names = z.record(z.string(), z.unknown());
const target = z.object({ name: z.string().optional(), path: z.string().optional() });
const cargoSchema = z.object({
  package: z
    .object({
      name: z.string(),
      'rust-version': z.unknown().optional(),
      'default-run': z.string().optional(),
      metadata: names.optional(),
    })
    .optional(),
  bin: z.array(target).optional(),
  lib: target.extend({ 'crate-type': z.array(z.string()).optional() }).optional(),
  dependencies: names.optional(),
  workspace: z
    .object({
      members: z.array(z.string()).optional(),
      exclude: z.array(z.string()).optional(),
      'default-members': z.array(z.string()).optional(),
      package: z.object({ 'rust-version': z.string().optional() }).optional(),
      dependencies: names.optional(),
    })
    .optional(),
});
type Cargo = z.output<typeof cargoSchema>;

export interface CargoPackage {
  /** The folder, relative to the tree. */
  readonly folder: string;
  readonly cargo: Cargo;
  /** The programs that it makes. */
  readonly programs: readonly string[];
  /** The files that its targets begin with, relative to its folder. */
  readonly roots: readonly string[];
}

export interface RustProject {
  readonly root: Cargo;
  readonly packages: readonly CargoPackage[];
  /** The package and the program to build. */
  readonly package: string;
  readonly program: string;
  readonly folder: string;
  /** The names of crates, those of the lock file included. */
  readonly crates: ReadonlySet<string>;
  readonly hasLock: boolean;
  readonly manifests: readonly string[];
}

/** If there are several programs, the first of these names is the app. */
const serverNames = ['server', 'web', 'app', 'api', 'backend', 'main'];
const maxMembers = 200;

/** @throws AppError dockerfile_invalid, source_invalid */
export async function readRustProject(tree: PresetTree, dir: string): Promise<RustProject> {
  const top = await readCargo(tree, '');
  const root = top === undefined || (top.workspace === undefined && dir !== '') ? await readCargo(tree, dir) : top;
  const base = root === top ? '' : dir;
  if (root === undefined) throw misfit(`there is no ${at(dir, 'Cargo.toml')}: run \`cargo init\``);
  const folders = [base, ...(await memberFolders(tree, base, root))];
  const packages: CargoPackage[] = [];
  for (const folder of folders) {
    const cargo = folder === base ? root : await readCargo(tree, folder);
    if (cargo?.package !== undefined) packages.push(await packageOf(tree, folder, cargo));
  }
  const lock = await tree.read(at(base, 'Cargo.lock'));
  const chosen = choose(packages, root, base, dir);
  const locked = [...(lock ?? '').matchAll(/^name = "([^"]+)"/gm)].map(([, name = '']) => name);
  const direct = packages.flatMap(({ cargo }) => Object.keys(cargo.dependencies ?? {}));
  return {
    root,
    packages,
    ...chosen,
    crates: new Set([...locked, ...direct]),
    hasLock: lock !== undefined,
    manifests: await allOf(tree, [
      ...[
        'Cargo.toml',
        'Cargo.lock',
        'rust-toolchain.toml',
        'rust-toolchain',
        '.cargo/config.toml',
        '.cargo/config',
      ].map((file) => at(base, file)),
      ...packages.filter(({ folder }) => folder !== base).map(({ folder }) => at(folder, 'Cargo.toml')),
    ]),
  };
}

async function readCargo(tree: PresetTree, folder: string): Promise<Cargo | undefined> {
  const path = at(folder, 'Cargo.toml');
  const text = await tree.read(path);
  if (text === undefined) return undefined;
  try {
    return cargoSchema.parse(parse(text));
  } catch (error) {
    throw new AppError('source_invalid', `${path} is not valid: ${error instanceof Error ? error.message : ''}`, {
      phase: 'source',
      cause: error,
    });
  }
}

async function memberFolders(tree: PresetTree, base: string, { workspace }: Cargo): Promise<string[]> {
  const found: string[] = [];
  for (const pattern of workspace?.members ?? []) {
    const clean = pattern.replace(/\/+$/, '').replace(/^\.\//, '');
    if (!/^[\w./*-]+$/.test(clean) || clean.includes('..')) continue;
    const star = clean.indexOf('*');
    const parent = at(
      base,
      star < 0
        ? ''
        : clean
            .slice(0, star)
            .replace(/\/[^/]*$/, '')
            .replace(/\/$/, ''),
    );
    if (star < 0) found.push(at(base, clean));
    else found.push(...(await foldersIn(tree, parent)).map((name) => at(parent, name)));
  }
  const excluded = workspace?.exclude ?? [];
  return [...new Set(found)]
    .filter((folder) => folder !== base && !excluded.includes(folder) && /^[\w./-]+$/.test(folder))
    .slice(0, maxMembers);
}

async function packageOf(tree: PresetTree, folder: string, cargo: Cargo): Promise<CargoPackage> {
  const name = cargo.package?.name ?? '';
  const programs = (cargo.bin ?? []).flatMap((one) => (one.name === undefined ? [] : [one.name]));
  if ((await tree.has(at(folder, 'src/main.rs'))) && !(cargo.bin ?? []).some(({ path }) => path === 'src/main.rs'))
    programs.push(name);
  for (const file of await filesIn(tree, at(folder, 'src/bin')))
    if (file.endsWith('.rs')) programs.push(file.slice(0, -3));
  for (const inner of await foldersIn(tree, at(folder, 'src/bin')))
    if (await tree.has(at(folder, `src/bin/${inner}/main.rs`))) programs.push(inner);
  const roots = [...(cargo.bin ?? []), ...(cargo.lib === undefined ? [] : [cargo.lib])].flatMap(({ path }) =>
    path === undefined ? [] : [path],
  );
  const usual = await allOf(
    tree,
    ['src/main.rs', 'src/lib.rs', 'build.rs'].map((file) => at(folder, file)),
  );
  const inside = folder === '' ? usual : usual.map((path) => path.slice(folder.length + 1));
  return {
    folder,
    cargo,
    programs: [...new Set(programs)].filter((one) => /^[\w.-]+$/.test(one)),
    roots: [...new Set([...inside, ...roots])],
  };
}

function choose(
  packages: readonly CargoPackage[],
  root: Cargo,
  base: string,
  dir: string,
): Pick<RustProject, 'package' | 'program' | 'folder'> {
  const defaults = (root.workspace?.['default-members'] ?? []).map((one) =>
    at(base, one.replace(/\/+$/, '').replace(/^\.\/?/, '')),
  );
  const inDir = packages.filter(({ folder }) => folder === dir);
  const groups = [
    dir === base ? [] : inDir,
    packages.filter(({ folder }) => folder === base),
    packages.filter(({ folder }) => defaults.includes(folder)),
    dir === base ? packages : [],
  ];
  for (const group of groups) {
    const makers = group.filter(({ programs }) => programs.length > 0);
    if (makers.length > 0) return oneOf(makers);
  }
  const wasm = packages.find(({ cargo }) => cargo.lib?.['crate-type']?.includes('cdylib') === true);
  throw misfit(
    wasm === undefined
      ? 'no package of Cargo.toml makes a program: add a src/main.rs, or give the app a Dockerfile'
      : `${wasm.cargo.package?.name ?? 'the package'} makes a library for WebAssembly, which presets do not build: build it, for example with wasm-pack, and deploy the folder with the index.html`,
  );
}

function oneOf(makers: readonly CargoPackage[]): Pick<RustProject, 'package' | 'program' | 'folder'> {
  const all = makers.flatMap(({ folder, cargo, programs }) =>
    programs.map((program) => ({
      folder,
      package: cargo.package?.name ?? '',
      program,
      isDefault: cargo.package?.['default-run'] === program,
      isMain: program === cargo.package?.name,
    })),
  );
  const named = serverNames
    .map((name) => all.find(({ program, package: owner }) => program === name || owner === name))
    .find((one) => one !== undefined);
  const mains = all.filter(({ isMain }) => isMain);
  const found =
    all.find(({ isDefault }) => isDefault) ??
    (all.length === 1 ? all[0] : undefined) ??
    (makers.length === 1 ? mains[0] : undefined) ??
    named ??
    (mains.length === 1 ? mains[0] : undefined);
  if (found !== undefined) return { folder: found.folder, package: found.package, program: found.program };
  throw misfit(
    `Cargo.toml has several programs (${all.map(({ program }) => program).join(', ')}): set \`default-run\` in [package], or \`dir\` in [app.build] to the package of the server`,
  );
}
