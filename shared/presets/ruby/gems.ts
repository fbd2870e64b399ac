/** Reads Gemfile and Gemfile.lock. */
import { type PresetTree, at } from '../tree.ts';

export interface Gems {
  readonly hasGemfile: boolean;
  readonly hasLock: boolean;
  /** The names of gems, those of the lock file included. */
  readonly names: ReadonlySet<string>;
  /** What the Gemfile says after `ruby`, or the lock file under RUBY VERSION; undefined without. */
  readonly ruby: string | undefined;
  /** Whether gems come from git, and whether some are in the tree. */
  readonly usesGit: boolean;
  readonly usesTree: boolean;
  /** Whether the lock file was made on another system and has no entry for Linux. */
  readonly lacksPlatform: boolean;
}

export async function readGems(tree: PresetTree, dir: string): Promise<Gems> {
  const text = (await tree.read(at(dir, 'Gemfile')))?.replaceAll(/^\s*#.*$/gm, '');
  const lock = await tree.read(at(dir, 'Gemfile.lock'));
  const listed = [...(text ?? '').matchAll(/^\s*gem[\s(]+["']([^"']+)["']/gm)].map(([, name = '']) => name);
  const locked = [...(lock ?? '').matchAll(/^ {4}([\w.-]+) \(/gm)].map(([, name = '']) => name);
  const platforms =
    /^PLATFORMS\n((?: {2}\S+\n?)+)/m
      .exec(lock ?? '')?.[1]
      ?.trim()
      .split(/\s+/) ?? [];
  return {
    hasGemfile: text !== undefined,
    hasLock: lock !== undefined,
    names: new Set([...listed, ...locked]),
    ruby:
      /^\s*ruby[\s(]+["']([^"')]+(?:["']\s*,\s*["'][^"']+)*)["']/m.exec(text ?? '')?.[1]?.replaceAll(/["']/g, '') ??
      /^RUBY VERSION\n {3}ruby (\d+\.\d+\.\d+)/m.exec(lock ?? '')?.[1],
    usesGit: /^GIT$/m.test(lock ?? '') || /\b(?:git|github):/.test(text ?? ''),
    usesTree: /^PATH$/m.test(lock ?? '') || /^\s*gemspec\b|\bpath:|^\s*eval_gemfile\b|File\.read/m.test(text ?? ''),
    lacksPlatform: platforms.length > 0 && !platforms.some((one) => one === 'ruby' || one.includes('linux')),
  };
}

interface GemPackages {
  readonly gems: readonly string[];
  readonly build?: readonly string[];
  readonly run?: readonly string[];
}

/** Debian's packages that gems need to be compiled and to be loaded. */
const packages: readonly GemPackages[] = [
  { gems: ['pg'], build: ['libpq-dev'], run: ['libpq5'] },
  { gems: ['mysql2'], build: ['default-libmysqlclient-dev'], run: ['libmariadb3'] },
  { gems: ['sqlite3'], build: ['libsqlite3-dev'], run: ['libsqlite3-0'] },
  { gems: ['rmagick'], build: ['libmagickwand-dev'], run: ['imagemagick'] },
  { gems: ['mini_magick'], run: ['imagemagick'] },
  { gems: ['ruby-vips', 'image_processing'], run: ['libvips42'] },
  { gems: ['rugged'], build: ['cmake', 'libssl-dev'] },
  { gems: ['charlock_holmes'], build: ['libicu-dev'], run: ['libicu-dev'] },
  { gems: ['curb'], build: ['libcurl4-openssl-dev'], run: ['libcurl4'] },
  { gems: ['ffi'], build: ['libffi-dev'] },
  { gems: ['trilogy', 'puma', 'eventmachine', 'openssl'], build: ['libssl-dev'] },
];

export function gemPackages(names: ReadonlySet<string>): { build: string[]; run: string[] } {
  const fitting = packages.filter(({ gems }) => gems.some((gem) => names.has(gem)));
  return {
    build: [...new Set(fitting.flatMap(({ build = [] }) => build))],
    run: [...new Set(fitting.flatMap(({ run = [] }) => run))],
  };
}
