/** Talks to git servers: looks refs up, and fetches one commit into a repository of its own. */
import { stat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import { overMaxBytes, type SourceLimits } from '../../shared/source/limits.ts';
import { withDeadline } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import { gitError, refusesCommits } from './git-errors.ts';
import { createLogin, type GitAuth, type GitLogin } from './git-login.ts';
import type { GitEnd, GitOptions, GitProgram } from './git-program.ts';
import { parseGitUrl, type GitUrl } from './git-url.ts';
import type { SourceSpec } from './sources.ts';

export interface GitServerDeps {
  readonly program: GitProgram;
  readonly auths: readonly GitAuth[];
  readonly allowFiles: boolean;
  readonly limits: SourceLimits;
  readonly fetchTimeoutMs: number;
  /** Holds ssh keys while they are used. */
  readonly workDir: string;
  readonly clock: Clock;
}

const commitPattern = /^([0-9a-f]{40}|[0-9a-f]{64})$/;
const maxResolveMs = 30_000;
const watchMs = 200;
/** The ref in the repository that the fetched commit gets. */
const fetchedRef = 'refs/heads/fetched';
const fetchArgs = [
  '--depth=1',
  '--no-tags',
  '--no-write-fetch-head',
  '--no-recurse-submodules',
  '--no-auto-maintenance',
];

export class GitServers {
  readonly #deps: GitServerDeps;

  constructor(deps: GitServerDeps) {
    this.#deps = deps;
  }

  /** @returns the commit that the ref of the spec points to now. @throws AppError as `Sources.resolve`; the signal's reason. */
  async resolve(spec: SourceSpec, signal: AbortSignal): Promise<string> {
    const { ref } = spec;
    if (isCommit(ref)) {
      // Checked all the same, so that a source that can never be fetched is not declared.
      this.#urlOf(spec);
      this.#authOf(spec);
      return ref;
    }
    const ms = Math.min(maxResolveMs, this.#deps.fetchTimeoutMs);
    return await this.#withLogin(spec, ms, signal, async ({ url }, login, options) => {
      const names = namesOf(ref).flatMap((name) => [name, `${name}^{}`]);
      const { code, stdout, stderr } = await this.#deps.program.run(
        ['ls-remote', '--quiet', '--', url, ...names],
        options,
      );
      if (code !== 0) throw gitError(`look up ${ref ?? 'HEAD'} at ${url}`, stderr, login.secrets);
      const found = new Map(stdout.split('\n').map((line) => line.split('\t', 2).toReversed() as [string, string]));
      for (const name of namesOf(ref)) {
        // `^{}` is the commit of an annotated tag.
        const commit = found.get(`${name}^{}`) ?? found.get(name);
        if (isCommit(commit)) return commit;
      }
      throw new AppError('source_not_found', missingRef(url, ref), { phase: 'source' });
    });
  }

  /** Fetches the commit into the repository. @throws AppError as `Sources.tree`; the signal's reason. */
  async fetch(repository: string, spec: SourceSpec, commit: string, signal: AbortSignal): Promise<void> {
    const { program, fetchTimeoutMs } = this.#deps;
    await this.#withLogin(spec, fetchTimeoutMs, signal, async ({ url }, login, options) => {
      const fail = (stderr: string): AppError => gitError(`fetch ${commit} from ${url}`, stderr, login.secrets);
      const first = await this.#fetchOne(repository, url, commit, options);
      if (first.code === 0) return;
      if (!refusesCommits(first.stderr) || isCommit(spec.ref)) throw fail(first.stderr);
      for (const name of namesOf(spec.ref)) {
        const { code, stderr } = await this.#fetchOne(repository, url, name, options);
        if (code !== 0 && /find remote ref/.test(stderr)) continue;
        if (code !== 0) throw fail(stderr);
        const found = await program.run(['-C', repository, 'rev-parse', '--verify', `${fetchedRef}^{commit}`], options);
        if (found.stdout.trim() === commit) return;
      }
      const message = `${url} serves only what its refs point to, and ${spec.ref ?? 'HEAD'} no longer is ${commit}`;
      throw new AppError('source_not_found', message, { phase: 'source' });
    });
  }

  async #withLogin<T>(
    spec: SourceSpec,
    ms: number,
    signal: AbortSignal,
    work: (url: GitUrl, login: GitLogin, options: GitOptions) => Promise<T>,
  ): Promise<T> {
    const url = this.#urlOf(spec);
    const login = await createLogin(url, this.#authOf(spec), this.#deps.workDir);
    const message = `${url.url} did not answer within ${ms / 1_000} s`;
    const reason = (): AppError => new AppError('source_unavailable', message, { phase: 'source' });
    try {
      return await withDeadline({ clock: this.#deps.clock, ms, signal, reason }, (limited) =>
        work(url, login, { env: login.env, config: login.config, protocol: url.protocol, signal: limited }),
      );
    } finally {
      await login.close();
    }
  }

  async #fetchOne(repository: string, url: string, name: string, options: GitOptions): Promise<GitEnd> {
    const done = new AbortController();
    const tooBig = new AbortController();
    const watching = this.#watchSize(join(repository, 'objects', 'pack'), tooBig, done.signal);
    const args = ['-C', repository, 'fetch', '--quiet', ...fetchArgs, '--', url, `+${name}:${fetchedRef}`];
    try {
      const signal = AbortSignal.any([options.signal, tooBig.signal]);
      return await this.#deps.program.run(args, { ...options, signal });
    } finally {
      done.abort();
      await watching;
    }
  }

  /** Aborts `tooBig` when the folder grows over the bound. Never rejects; ends with the signal. */
  async #watchSize(folder: string, tooBig: AbortController, signal: AbortSignal): Promise<void> {
    const { clock, limits } = this.#deps;
    for (;;) {
      await sleep(clock, watchMs, signal);
      if (signal.aborted) return;
      if ((await folderBytes(folder)) <= limits.maxBytes) continue;
      tooBig.abort(overMaxBytes(limits.maxBytes));
      return;
    }
  }

  #urlOf({ source = '' }: SourceSpec): GitUrl {
    return parseGitUrl(source, { allowFiles: this.#deps.allowFiles });
  }

  #authOf({ git_auth: name }: SourceSpec): GitAuth | undefined {
    const auth = this.#deps.auths.find((one) => one.name === name);
    if (name !== undefined && auth === undefined)
      throw new AppError('source_denied', `the agent has no [[git_auth]] ${name}`, { phase: 'source' });
    return auth;
  }
}

function isCommit(ref: string | undefined): ref is string {
  return ref !== undefined && commitPattern.test(ref);
}

/** The full names that a ref may have at the server, the likeliest first. */
function namesOf(ref: string | undefined): readonly string[] {
  if (ref === undefined || ref === 'HEAD') return ['HEAD'];
  return ref.startsWith('refs/') ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`];
}

function missingRef(url: string, ref: string | undefined): string {
  if (ref === undefined)
    return `${url} has no HEAD: it has no commit yet, or its default branch does not exist; name a ref`;
  const short = /^[0-9a-f]{4,39}$/.test(ref) ? '; give all 40 digits of a commit' : '';
  return `${url} has no branch or tag ${ref}${short}`;
}

/** Files may disappear meanwhile; what cannot be read counts as empty. */
async function folderBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder).catch(() => []))
    bytes += await stat(join(folder, name)).then(
      ({ size }) => size,
      () => 0,
    );
  return bytes;
}
