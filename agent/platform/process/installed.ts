/**
 * Copies of snapshots in which the dependencies of the source are installed: `<folder>/<digest>-<key>/tree`, one per snapshot and commands,
 * shared by all versions. The snapshot itself, and the folder it came from, are never written to.
 *
 * What installing makes of the manifests alone is kept in `<folder>/deps-<key>/tree`, as an image has it in a layer of its own: a snapshot
 * with the same manifests gets a copy of that. It is a copy and not a link, because builds write into their dependencies, and because
 * bundlers refuse a `node_modules` that leads out of the tree.
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import type { PlanCommand } from '../../../shared/presets/plan.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { deadlineSignal } from '../../../shared/wait/abort.ts';
import { copyTree, movePrograms } from './copy-tree.ts';
import { runInstall } from './install.ts';
import { MadeFolders } from './made-folders.ts';
import type { RunFiles } from './run-files.ts';

export interface InstallRequest {
  /** The name of the snapshot: `sha256:<hex>…` or `git:<commit>…`. */
  readonly digest: string;
  readonly snapshot: string;
  /** The files that `install` reads, relative to the tree; `tree` if it may read any file. */
  readonly manifests: readonly string[] | 'tree';
  readonly install: readonly PlanCommand[];
  /** Run after `install`. */
  readonly build: readonly PlanCommand[];
  /** Further inputs of the commands: a change makes another copy. */
  readonly inputs: Readonly<Record<string, string>>;
  /** @param tree the copy, in which programs may have to be found. */
  readonly env: (tree: string) => Readonly<Record<string, string>>;
}

export interface InstallListener {
  readonly onStep: (title: string) => void;
  readonly onLine: (line: string) => void;
}

type Progress = { readonly step: string } | { readonly line: string };

interface Making {
  readonly signal: AbortSignal;
  readonly report: (progress: Progress) => void;
}

const dependenciesPrefix = 'deps-';

export function createInstalled(deps: {
  readonly folder: string;
  readonly runFiles: Pick<RunFiles, 'add' | 'remove'>;
  readonly timeoutMs: number;
  readonly clock: Clock;
}) {
  const { folder, clock, timeoutMs } = deps;
  const folders = new MadeFolders<Progress>(folder);
  /** The layers that copies are being made of, by the copy. */
  const inUse = new Map<string, string>();

  async function run(
    commands: readonly PlanCommand[],
    { env }: InstallRequest,
    { tree, signal, report }: Making & { readonly tree: string },
  ): Promise<void> {
    const own = env(tree);
    await runInstall(
      commands.map(({ words, in: inner = '', title }) => ({ argv: words, title, cwd: join(tree, inner), env: own })),
      { ...deps, signal, onStep: (step) => report({ step }), onLine: (line) => report({ line }) },
    );
  }

  /** Fills `place` with the snapshot, what its manifests require, and what the commands make of it. */
  async function make(place: string, request: InstallRequest, { signal, report }: Making): Promise<void> {
    const tree = join(place, 'tree');
    await mkdir(tree);
    await writeFile(join(place, 'digest'), request.digest);
    const layer = await layerOf(request);
    if (layer !== undefined) await copyLayer(place, layer, { signal, report });
    await copy(request.snapshot, request, { tree, signal });
    const commands = layer === undefined ? [...request.install, ...request.build] : request.build;
    await run(commands, request, { tree, signal, report });
  }

  async function copy(
    from: string,
    { env }: InstallRequest,
    { tree, signal }: Pick<Making, 'signal'> & { readonly tree: string },
  ): Promise<void> {
    const reason = (): AppError =>
      new AppError('build_timeout', `copying did not end within ${timeoutMs / 1_000} s`, { phase: 'build' });
    using deadline = deadlineSignal({ clock, ms: timeoutMs, signal, reason });
    await copyTree(from, tree, { env: env(tree), signal: deadline.signal });
  }

  async function copyLayer(place: string, layer: Layer, { signal, report }: Making): Promise<void> {
    const tree = join(place, 'tree');
    // Kept by `inUse` until the copy is complete, and by the file from then on.
    inUse.set(place, layer.name);
    try {
      await writeFile(join(place, 'layer'), layer.name);
      const made = await folders.ready(
        layer.name,
        (inner, all, tell) => makeLayer(inner, layer, { signal: all, report: tell }),
        { onProgress: report, signal },
      );
      await copy(join(made, 'tree'), layer.request, { tree, signal });
      await movePrograms(layer.folders, join(made, 'tree'), tree);
    } finally {
      inUse.delete(place);
    }
  }

  async function makeLayer(place: string, { request, files }: Layer, { signal, report }: Making): Promise<void> {
    const tree = join(place, 'tree');
    await mkdir(tree);
    for (const { path } of files) {
      await mkdir(dirname(join(tree, path)), { recursive: true });
      await copyFile(join(request.snapshot, path), join(tree, path));
    }
    await run(request.install, request, { tree, signal, report });
  }

  return {
    /**
     * Returns the copy, made now or before. Callers that want the same one share the work, which ends when the last one leaves.
     * @throws AppError build_failed, build_timeout, platform_error, cancelled.
     */
    async ready(request: InstallRequest, listener: InstallListener, signal: AbortSignal): Promise<string> {
      const onProgress = (progress: Progress): void => {
        if ('step' in progress) listener.onStep(progress.step);
        else listener.onLine(progress.line);
      };
      const place = await folders.ready(
        nameOf(request),
        (inner, all, report) => make(inner, request, { signal: all, report }),
        { onProgress, signal },
      );
      return join(place, 'tree');
    },

    /** Removes the copies of snapshots that `keep` does not want, and the layers that no copy was made of. */
    async prune(keep: (digest: string) => boolean): Promise<void> {
      const kept = new Set<string>();
      for (const name of await folders.names()) {
        const read = (file: string): Promise<string> => readFile(join(folder, name, file), 'utf8').catch(() => '');
        if (!keep(await read('digest'))) continue;
        kept.add(name).add(await read('layer'));
      }
      await folders.prune((name) => kept.has(name) || [...inUse.values()].includes(name));
    },

    /** Ends the work that is under way. */
    close: () => folders.close(),
  };
}

export type Installed = ReturnType<typeof createInstalled>;

/** What is installed of manifests alone. */
interface Layer {
  readonly name: string;
  readonly request: InstallRequest;
  readonly files: readonly { readonly path: string; readonly digest: string }[];
  /** The folders of the tree that may hold environments: those in which a command runs, and those of the manifests. */
  readonly folders: readonly string[];
}

/** @returns undefined if installing may read any file, or there is nothing to install. */
async function layerOf(request: InstallRequest): Promise<Layer | undefined> {
  const { manifests, install, inputs, snapshot } = request;
  if (manifests === 'tree' || install.length === 0) return undefined;
  const files: { path: string; digest: string }[] = [];
  for (const path of manifests.toSorted()) {
    const bytes = await readFile(join(snapshot, path)).catch(() => undefined);
    // A folder, or a file that is not there: the image's build would say so, and here the whole tree is installed.
    if (bytes === undefined) return undefined;
    files.push({ path, digest: createHash('sha256').update(bytes).digest('hex') });
  }
  const key = keyOf([files, install, sorted(inputs), process.version]);
  const folders = [...new Set([...install.map(({ in: inner = '' }) => inner), ...manifests.map(dirname)])];
  return { name: `${dependenciesPrefix}${key}`, request, files, folders };
}

function nameOf({ digest, manifests, install, build, inputs }: InstallRequest): string {
  const key = keyOf([digest, manifests, install, build, sorted(inputs)]);
  return `${digest.replace(/^\w+:/, '').slice(0, 12)}-${key}`;
}

/** Short, because paths of programs in it stand in first lines (`#!`), which the kernel cuts. */
function keyOf(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 20);
}

function sorted(inputs: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(inputs).toSorted(([a], [b]) => (a < b ? -1 : 1));
}
