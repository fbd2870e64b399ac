/** Git sources: the commit of a ref, and the tree of a commit, by a fetch of that one commit. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import { unpackTree, type UnpackedTree } from '../../shared/source/unpack.ts';
import { gitError } from './git-errors.ts';
import { checkListing } from './git-listing.ts';
import { GitServers, type GitServerDeps } from './git-servers.ts';
import type { SourceSpec } from './sources.ts';

/** These attributes override those of the repository that change archives, so that what is built is exactly what was committed. */
const attributes = '* -export-ignore -export-subst\n';

export function createGit(deps: GitServerDeps) {
  const { program, limits, workDir } = deps;
  const servers = new GitServers(deps);

  async function init(repository: string, commit: string, signal: AbortSignal): Promise<void> {
    await mkdir(repository);
    const format = commit.length === 64 ? ['--object-format=sha256'] : [];
    const made = await program.run(['init', '--quiet', '--bare', '--template=', ...format, repository], { signal });
    if (made.code !== 0) throw gitError('make a repository', made.stderr, []);
    await mkdir(join(repository, 'info'), { recursive: true });
    await writeFile(join(repository, 'info', 'attributes'), attributes);
  }

  /** The tree object of the commit, or of its sub-folder. */
  async function treeOf(repository: string, commit: string, spec: SourceSpec, signal: AbortSignal): Promise<string> {
    if (spec.dir === undefined) return commit;
    const git = (...args: string[]) => program.run(['-C', repository, ...args], { signal });
    const found = await git('rev-parse', '--verify', '--quiet', `${commit}:${spec.dir}`);
    const object = found.stdout.trim();
    const type = found.code === 0 ? (await git('cat-file', '-t', object)).stdout.trim() : '';
    if (type === 'tree') return object;
    throw new AppError('source_not_found', `commit ${commit} has no folder ${spec.dir}`, { phase: 'source' });
  }

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
      // If the output of git ended early because git failed, git's own message counts.
      if (!stdout.readableEnded) refused.abort(error);
      // Wait for git before the repository is removed: git still reads it.
      const end = await ended.catch(() => undefined);
      signal.throwIfAborted();
      throw end === undefined || end.code === 0 ? error : gitError('read the commit', end.stderr, [], 'source_invalid');
    }
  }

  return {
    /** The commit that the ref points to now. @throws AppError as `Sources.resolve`. */
    resolve: (spec: SourceSpec, signal: AbortSignal) => servers.resolve(spec, signal),
    /** Unpacks the tree of a commit into a fresh folder. @throws AppError as `Sources.tree`; nothing is left then. */
    async unpack(spec: SourceSpec, commit: string, target: string, signal: AbortSignal): Promise<UnpackedTree> {
      const repository = join(workDir, `git-${randomUUID()}`);
      try {
        await init(repository, commit, signal);
        await servers.fetch(repository, spec, commit, signal);
        const tree = await treeOf(repository, commit, spec, signal);
        await checkListing({ program, limits, repository, tree }, signal);
        return await archive(repository, tree, target, signal);
      } finally {
        await rm(repository, { recursive: true, force: true });
      }
    },
  };
}

export type Git = ReturnType<typeof createGit>;
