/** Git sources: what a ref is now, and the tree of a commit, by a fetch of that one commit. */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withDeadline } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import { AppError } from '../../shared/errors.ts';
import { overMaxBytes, type SourceLimits } from '../../shared/source/limits.ts';
import { unpackTree, type UnpackedTree } from '../../shared/source/unpack.ts';
import { gitError, refusesCommits } from './git-errors.ts';
import { checkListing } from './git-listing.ts';
import { createLogin, type GitAuth, type GitLogin } from './git-login.ts';
import type { GitOptions, GitProgram } from './git-program.ts';
import { parseGitUrl, type GitUrl } from './git-url.ts';
import type { SourceSpec } from './sources.ts';

export interface Git {
  /** The commit that the ref points to now. @throws AppError as `Sources.resolve`. */
  resolve(spec: SourceSpec, signal: AbortSignal): Promise<string>;
  /** The tree of a commit in a fresh folder. @throws AppError as `Sources.tree`; nothing is left then. */
  unpack(spec: SourceSpec, commit: string, target: string, signal: AbortSignal): Promise<UnpackedTree>;
}

interface GitDeps {
  readonly program: GitProgram;
  readonly auths: readonly GitAuth[];
  readonly allowFiles: boolean;
  readonly limits: SourceLimits;
  readonly fetchTimeoutMs: number;
  /** For repositories while they are fetched, and keys. */
  readonly workDir: string;
  readonly clock: Clock;
}

const commitPattern = /^([0-9a-f]{40}|[0-9a-f]{64})$/;
const maxResolveMs = 30_000;
const watchMs = 200;
/** In the fetched repository. */
const fetchedRef = 'refs/heads/fetched';
/** What was committed is what is built: attributes that change archives are switched off, above those of the repository. */
const attributes = '* -export-ignore -export-subst\n';

export function createGit(deps: GitDeps): Git {
  const { program, limits, fetchTimeoutMs, workDir, clock } = deps;

  async function withLogin<T>(
    spec: SourceSpec,
    ms: number,
    signal: AbortSignal,
    work: (url: GitUrl, login: GitLogin, options: GitOptions) => Promise<T>,
  ): Promise<T> {
    const url = parseGitUrl(spec.source ?? '', { allowFiles: deps.allowFiles });
    const login = await createLogin(url, findAuth(spec.git_auth), workDir);
    try {
      const reason = (): AppError =>
        new AppError('source_unavailable', `${place(url)} did not answer within ${ms / 1_000} s`, { phase: 'source' });
      return await withDeadline({ clock, ms, signal, reason }, (limited) =>
        work(url, login, { env: login.env, config: login.config, protocol: url.protocol, signal: limited }),
      );
    } finally {
      await login.close();
    }
  }

  function findAuth(name: string | undefined): GitAuth | undefined {
    const auth = deps.auths.find((one) => one.name === name);
    if (name !== undefined && auth === undefined)
      throw new AppError('source_denied', `the agent has no [[git_auth]] ${name}`, { phase: 'source' });
    return auth;
  }

  async function fetch(repository: string, spec: SourceSpec, commit: string, signal: AbortSignal): Promise<void> {
    await withLogin(spec, fetchTimeoutMs, signal, async (url, login, options) => {
      const what = `fetch ${commit} from ${place(url)}`;
      const first = await fetchOne(repository, url, commit, options);
      if (first.code === 0) return;
      if (!refusesCommits(first.stderr) || isCommit(spec.ref)) throw gitError(what, first.stderr, login.secrets);
      for (const ref of candidates(spec.ref)) {
        const { code, stderr } = await fetchOne(repository, url, ref, options);
        if (code !== 0 && /find remote ref/.test(stderr)) continue;
        if (code !== 0) throw gitError(what, stderr, login.secrets);
        const found = await program.run(['-C', repository, 'rev-parse', '--verify', `${fetchedRef}^{commit}`], options);
        if (found.stdout.trim() === commit) return;
      }
      throw new AppError(
        'source_not_found',
        `${place(url)} gives out only what its refs point to, and ${spec.ref ?? 'HEAD'} is not ${commit} any more`,
        { phase: 'source' },
      );
    });
  }

  async function fetchOne(
    repository: string,
    url: GitUrl,
    name: string,
    options: GitOptions,
  ): Promise<{ code: number; stderr: string }> {
    const args = [
      '--depth=1',
      '--no-tags',
      '--no-write-fetch-head',
      '--no-recurse-submodules',
      '--no-auto-maintenance',
    ];
    const refspec = `+${name}:${fetchedRef}`;
    const done = new AbortController();
    const tooBig = new AbortController();
    const watching = watchSize(join(repository, 'objects', 'pack'), tooBig, done.signal);
    try {
      const signal = AbortSignal.any([options.signal, tooBig.signal]);
      return await program.run(['-C', repository, 'fetch', '--quiet', ...args, '--', url.url, refspec], {
        ...options,
        signal,
      });
    } finally {
      done.abort();
      await watching;
    }
  }

  /** Aborts `tooBig` when the folder grows over the bound. Never rejects; ends with the signal. */
  async function watchSize(folder: string, tooBig: AbortController, signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(clock, watchMs, signal);
      if (signal.aborted) return;
      try {
        if ((await folderBytes(folder)) <= limits.maxBytes) continue;
        tooBig.abort(overMaxBytes(limits.maxBytes));
      } catch (error) {
        tooBig.abort(error);
      }
      return;
    }
  }

  /** The tree object of the commit, or of its sub-folder. */
  async function treeOf(repository: string, commit: string, spec: SourceSpec, signal: AbortSignal): Promise<string> {
    if (spec.dir === undefined) return commit;
    const found = await program.run(['-C', repository, 'rev-parse', '--verify', '--quiet', `${commit}:${spec.dir}`], {
      signal,
    });
    const object = found.stdout.trim();
    const type =
      found.code === 0
        ? (await program.run(['-C', repository, 'cat-file', '-t', object], { signal })).stdout.trim()
        : '';
    if (type === 'tree') return object;
    throw new AppError('source_not_found', `commit ${commit} has no folder ${spec.dir}`, { phase: 'source' });
  }

  return {
    async resolve(spec, signal) {
      const { ref } = spec;
      if (isCommit(ref)) {
        // Checked all the same, so that what can never be fetched is not declared.
        parseGitUrl(spec.source ?? '', { allowFiles: deps.allowFiles });
        findAuth(spec.git_auth);
        return ref;
      }
      return await withLogin(spec, Math.min(maxResolveMs, fetchTimeoutMs), signal, async (url, login, options) => {
        const names = candidates(ref).flatMap((name) => [name, `${name}^{}`]);
        const { code, stdout, stderr } = await program.run(['ls-remote', '--quiet', '--', url.url, ...names], options);
        if (code !== 0) throw gitError(`look up ${ref ?? 'HEAD'} at ${place(url)}`, stderr, login.secrets);
        const found = new Map(stdout.split('\n').map((line) => line.split('\t', 2).toReversed() as [string, string]));
        for (const name of candidates(ref)) {
          // What an annotated tag is of, else the ref itself.
          const commit = found.get(`${name}^{}`) ?? found.get(name);
          if (isCommit(commit)) return commit;
        }
        throw new AppError('source_not_found', missing(url, ref), { phase: 'source' });
      });
    },

    async unpack(spec, commit, target, signal) {
      const repository = join(workDir, `git-${randomUUID()}`);
      try {
        await mkdir(repository);
        const format = commit.length === 64 ? ['--object-format=sha256'] : [];
        const made = await program.run(['init', '--quiet', '--bare', '--template=', ...format, repository], { signal });
        if (made.code !== 0) throw gitError('make a repository', made.stderr, []);
        await mkdir(join(repository, 'info'), { recursive: true });
        await writeFile(join(repository, 'info', 'attributes'), attributes);
        await fetch(repository, spec, commit, signal);
        const tree = await treeOf(repository, commit, spec, signal);
        await checkListing(program, repository, tree, limits, signal);
        return await archive(repository, tree, target, signal);
      } finally {
        await rm(repository, { recursive: true, force: true });
      }
    },
  };

  async function archive(repository: string, tree: string, target: string, signal: AbortSignal): Promise<UnpackedTree> {
    const refused = new AbortController();
    const both = AbortSignal.any([signal, refused.signal]);
    const { stdout, ended } = program.start(['-C', repository, 'archive', '--format=tar', tree], { signal: both });
    try {
      const unpacked = await unpackTree({ input: stdout, gzip: false, target, limits, signal });
      const { code, stderr } = await ended;
      if (code === 0) return unpacked;
      await rm(target, { recursive: true, force: true });
      throw gitError('read the commit', stderr, []);
    } catch (error) {
      // What git wrote may have ended since git failed: then its word counts.
      if (!stdout.readableEnded) refused.abort(error);
      // Also before the repository goes: git still reads it.
      const end = await ended.catch(() => undefined);
      signal.throwIfAborted();
      throw end === undefined || end.code === 0 ? error : gitError('read the commit', end.stderr, [], 'source_invalid');
    }
  }
}

function isCommit(ref: string | undefined): ref is string {
  return ref !== undefined && commitPattern.test(ref);
}

/** Full names that a ref may have at the server, the likeliest first. */
function candidates(ref: string | undefined): readonly string[] {
  if (ref === undefined || ref === 'HEAD') return ['HEAD'];
  return ref.startsWith('refs/') ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`];
}

function missing(url: GitUrl, ref: string | undefined): string {
  if (ref === undefined)
    return `${place(url)} has no HEAD: it has no commit yet, or its default branch is not there; name a ref`;
  const short = /^[0-9a-f]{4,39}$/.test(ref) ? '; a commit is given with all its 40 digits' : '';
  return `${place(url)} has no branch or tag ${ref}${short}`;
}

/** For messages; URLs have no credentials. */
function place(url: GitUrl): string {
  return url.url;
}

async function folderBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder).catch(() => []))
    bytes += await stat(join(folder, name)).then(
      ({ size }) => size,
      () => 0,
    );
  return bytes;
}
