/** What the images of a Node.js app need beside node: git, compilers, libraries. */
import type { PresetTree } from '../tree.ts';
import { type Manifest, allDependencies } from './manifest.ts';
import type { PackageManager } from './manager.ts';

/** Packages that are compiled when they are installed, unless somebody has done so for this version of node. */
const compiled = new Set(['node-gyp', 'node-sass', 'sqlite3', 'better-sqlite3', 'bcrypt', 'canvas', 'argon2', 'isolated-vm', 're2', 'zeromq', 'serialport', 'usb', 'nodegit', 'node-pty', 'pg-native', 'libpq', 'couchbase', 'oracledb', 'ibm_db', 'leveldown', 'utp-native', 'cpu-features', 'microtime', 'kerberos', 'snappy', 'farmhash', 'node-rdkafka', 'sodium-native', 'bufferutil', 'utf-8-validate', 'tree-sitter', 'hiredis', 'fibers', 'deasync', 'ref-napi', 'ffi-napi']); // prettier-ignore

/** Libraries of single packages: for the build, and at run time. */
const libraries: Readonly<Record<string, { readonly build: readonly string[]; readonly run: readonly string[] }>> = {
  'pg-native': { build: ['libpq-dev'], run: ['libpq5'] },
  libpq: { build: ['libpq-dev'], run: ['libpq5'] },
  prisma: { build: ['openssl'], run: ['openssl'] },
  '@prisma/client': { build: ['openssl'], run: ['openssl'] },
  'node-rdkafka': { build: ['libsasl2-dev', 'libssl-dev'], run: ['libsasl2-2'] },
};

export interface SystemPackages {
  readonly build: readonly string[];
  readonly run: readonly string[];
}

const maxLockBytes = 8 * 1024 * 1024;

export async function systemPackages(
  tree: PresetTree,
  manager: PackageManager,
  manifests: readonly Manifest[],
): Promise<SystemPackages> {
  const specs = manifests.flatMap((one) => Object.entries(allDependencies(one)));
  const names = new Set(specs.map(([name]) => name));
  const lock = ((manager.lockfile === undefined ? undefined : await tree.read(manager.lockfile)) ?? '').slice(0, maxLockBytes); // prettier-ignore
  const needsGit = specs.some(([, spec]) => isGit(spec)) || /git\+(?:https|ssh)|codeload\.github\.com/.test(lock);
  const needsCompiler =
    [...names].some((name) => compiled.has(name)) ||
    (await tree.has('binding.gyp')) ||
    /"node_modules\/(?:node-gyp|nan|node-addon-api)"|^ {2}'?(?:node-gyp|nan|node-addon-api)@/m.test(lock);
  const own = [...names].flatMap((name) => libraries[name] ?? []);
  return {
    build: [
      ...(needsGit ? ['git', 'ca-certificates', 'openssh-client'] : []),
      ...(needsCompiler ? ['python3', 'make', 'g++'] : []),
      ...new Set(own.flatMap(({ build }) => build)),
    ],
    run: [...new Set(own.flatMap(({ run }) => run))],
  };
}

function isGit(spec: string): boolean {
  return /^(?:git[+:@]|git\+ssh|(?:github|gitlab|bitbucket|gist):)|\.git(?:#|$)/.test(spec) || /^[\w-]+\/[\w.-]+(?:#.+)?$/.test(spec); // prettier-ignore
}
