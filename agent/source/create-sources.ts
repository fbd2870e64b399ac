/** The sources of an agent: git repositories and uploads, with their trees cached on disk. */
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { withDeadline } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { sourceKind } from '../../shared/protocol/app-spec.ts';
import { defaultSourceLimits, type SourceLimits } from '../../shared/source/limits.ts';
import { unpackTree, type UnpackedTree } from '../../shared/source/unpack.ts';
import { createGitProgram } from './git-program.ts';
import { createGit } from './git.ts';
import type { GitAuth } from './git-login.ts';
import type { Sources, SourceSpec } from './sources.ts';
import { createTreeCache } from './tree-cache.ts';

/** The part of `[source]` that is needed here. */
export interface SourceConfig {
  readonly max_bytes: number;
  readonly max_files: number;
  readonly fetch_timeout_secs: number;
  readonly allow_file_urls: boolean;
}

/** The uploads. Digests are `sha256:<hex>`. */
export interface UploadedTrees {
  /** Whether a complete upload has this digest. It is kept for another day then. */
  find(digest: string): Promise<boolean>;
  /** The archive of the upload. @throws AppError source_not_found, store_unavailable */
  readTree(digest: string): AsyncIterable<Uint8Array>;
}

const maxFetches = 4;
const maxResolves = 8;
const minCacheBytes = 2 * 1024 ** 3;
/** Time for writing a tree to disk, on top of the fetch timeout. */
const unpackTimeoutMs = 300_000;

export function sourceLimits(config: Pick<SourceConfig, 'max_bytes' | 'max_files'>): SourceLimits {
  return { ...defaultSourceLimits, maxBytes: config.max_bytes, maxFiles: config.max_files };
}

export async function createSources(deps: {
  readonly config: SourceConfig;
  readonly auths: readonly GitAuth[];
  readonly uploads: UploadedTrees;
  /** A folder that belongs to this agent alone. It is emptied at start. */
  readonly cacheDir: string;
  /** The environment of the agent. git gets PATH, proxies and the like from it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly clock: Clock;
}): Promise<Sources> {
  const { config, uploads, clock } = deps;
  // Absolute, because git runs in another folder.
  const cacheDir = resolve(deps.cacheDir);
  const limits = sourceLimits(config);
  const fetchTimeoutMs = config.fetch_timeout_secs * 1_000;
  const workDir = join(cacheDir, 'work');
  const home = join(cacheDir, 'home');
  for (const path of [workDir, home]) {
    await rm(path, { recursive: true, force: true });
    await mkdir(path, { recursive: true });
  }
  const cache = await createTreeCache({
    folder: join(cacheDir, 'trees'),
    maxBytes: Math.max(minCacheBytes, 4 * config.max_bytes),
    maxAtOnce: maxFetches,
    log: deps.log,
  });
  const git = createGit({
    program: createGitProgram({ env: deps.env, home }),
    auths: deps.auths,
    allowFiles: config.allow_file_urls,
    limits,
    fetchTimeoutMs,
    workDir,
    clock,
  });
  const resolves = new Semaphore({ places: maxResolves });
  const closing = new AbortController();

  async function unpackUpload(
    { dir }: SourceSpec,
    digest: string,
    target: string,
    signal: AbortSignal,
  ): Promise<UnpackedTree> {
    const tree = await unpackTree({ input: uploads.readTree(digest), gzip: true, target, dir, limits, signal });
    if (dir === undefined && tree.digest !== digest) {
      await rm(target, { recursive: true, force: true });
      throw new AppError(
        'source_invalid',
        `the upload ${digest} has changed since it was checked: run \`holdfast deploy\` again`,
        { phase: 'source' },
      );
    }
    return tree;
  }

  return {
    async resolve(spec, signal) {
      const source = spec.source ?? '';
      switch (sourceKind(source)) {
        case 'git': {
          const both = AbortSignal.any([signal, closing.signal]);
          return `git:${await resolves.run({ signal: both }, () => git.resolve(spec, both))}`;
        }
        case 'upload': {
          const digest = source.slice('upload:'.length);
          if (await uploads.find(digest)) return digest;
          throw new AppError(
            'source_not_found',
            'this upload does not exist, or was deleted: run `holdfast deploy` again',
            {
              phase: 'source',
            },
          );
        }
        case 'folder':
          throw unsupported();
      }
    },

    async tree(spec, digest, signal) {
      const [kind, hex = ''] = digest.split(':', 2);
      const make =
        kind === 'git'
          ? (target: string, limited: AbortSignal) => git.unpack(spec, hex, target, limited)
          : (target: string, limited: AbortSignal) => unpackUpload(spec, digest, target, limited);
      if (sourceKind(spec.source ?? '') === 'folder') throw unsupported();
      // The git server decides who may read a repository: to know a commit must not give access to what another app has fetched.
      const whose = kind === 'git' ? [spec.source, spec.git_auth ?? null] : [];
      const key = JSON.stringify([digest, spec.dir ?? null, ...whose]);
      const ms = fetchTimeoutMs + unpackTimeoutMs;
      const reason = (): AppError =>
        new AppError('source_unavailable', `the source could not be fetched and unpacked within ${ms / 1_000} s`, {
          phase: 'source',
        });
      return await cache.get(
        key,
        (target, shared) => withDeadline({ clock, ms, signal: shared, reason }, (limited) => make(target, limited)),
        signal,
      );
    },

    async close() {
      closing.abort(new AppError('cancelled', 'the agent stops'));
      await cache.close();
    },
  };
}

function unsupported(): AppError {
  return new AppError(
    'source_unsupported',
    'a folder can only be run by the process platform, on its own machine; upload it with `holdfast deploy`',
    { phase: 'source' },
  );
}
