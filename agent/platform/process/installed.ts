/**
 * Copies of snapshots in which the dependencies of the source are installed: `<folder>/<digest>-<key>/tree`, one per snapshot and install
 * commands, shared by all versions. The snapshot itself, and the folder it came from, are never written to.
 */
import { createHash, randomUUID } from 'node:crypto';
import { constants, existsSync, renameSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import type { PlanCommand } from '../../../shared/presets/plan.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { SharedTask } from '../../../shared/wait/shared-task.ts';
import { runInstall } from './install.ts';
import type { RunFiles } from './run-files.ts';

export interface InstallRequest {
  /** The name of the snapshot: `sha256:<hex>…` or `git:<commit>…`. */
  readonly digest: string;
  readonly snapshot: string;
  readonly commands: readonly PlanCommand[];
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

const doomedPrefix = '.tmp-';

export function createInstalled(deps: {
  readonly folder: string;
  readonly runFiles: Pick<RunFiles, 'add' | 'remove'>;
  readonly timeoutMs: number;
  readonly clock: Clock;
}) {
  const { folder } = deps;
  const tasks = new Map<string, SharedTask<void, Progress>>();
  let closed = false;

  async function make(
    place: string,
    request: InstallRequest,
    signal: AbortSignal,
    report: (progress: Progress) => void,
  ): Promise<void> {
    const tree = join(place, 'tree');
    try {
      await rm(place, { recursive: true, force: true });
      await mkdir(place, { recursive: true });
      await writeFile(join(place, 'digest'), request.digest);
      await cp(request.snapshot, tree, {
        recursive: true,
        verbatimSymlinks: true,
        mode: constants.COPYFILE_FICLONE,
        filter: () => {
          signal.throwIfAborted();
          return true;
        },
      });
      const env = request.env(tree);
      await runInstall(
        request.commands.map(({ words, in: inner = '', title }) => ({
          argv: words,
          title,
          cwd: join(tree, inner),
          env,
        })),
        {
          ...deps,
          signal,
          onStep: (step) => report({ step }),
          onLine: (line) => report({ line }),
        },
      );
      await writeFile(join(place, 'done'), '');
    } catch (error) {
      await rm(place, { recursive: true, force: true });
      throw error;
    }
  }

  return {
    /**
     * Returns the copy, made now or before. Callers that want the same one share the work, which ends when the last one leaves.
     * @throws AppError build_failed, build_timeout, platform_error, cancelled.
     */
    async ready(request: InstallRequest, listener: InstallListener, signal: AbortSignal): Promise<string> {
      const place = join(folder, nameOf(request));
      for (;;) {
        if (closed) throw new AppError('cancelled', 'the agent is shutting down');
        if (existsSync(join(place, 'done'))) return join(place, 'tree');
        let task = tasks.get(place);
        if (task?.aborted === true) {
          // Work that is being undone cannot be joined.
          await task.settled;
          continue;
        }
        if (task === undefined) {
          task = new SharedTask((inner, report) =>
            make(place, request, inner, report).finally(() => {
              tasks.delete(place);
            }),
          );
          tasks.set(place, task);
        }
        await task.join(signal, (progress) =>
          'step' in progress ? listener.onStep(progress.step) : listener.onLine(progress.line),
        );
      }
    },

    /** Removes the copies of snapshots that `keep` does not want. */
    async prune(keep: (digest: string) => boolean): Promise<void> {
      for (const name of await readdir(folder).catch(() => [])) {
        const place = join(folder, name);
        const digest = await readFile(join(place, 'digest'), 'utf8').catch(() => undefined);
        const isDoomed = name.startsWith(doomedPrefix) || digest === undefined || !keep(digest);
        if (!isDoomed || tasks.has(place)) continue;
        const doomed = join(folder, `${doomedPrefix}${randomUUID()}`);
        // Synchronous, so that nobody can find the copy between the check and the removal.
        renameSync(place, doomed);
        await rm(doomed, { recursive: true, force: true });
      }
    },

    /** Ends the work that is under way. */
    async close(): Promise<void> {
      closed = true;
      const reason = new AppError('cancelled', 'the agent is shutting down');
      await Promise.all([...tasks.values()].map((task) => task.abort(reason)));
    },
  };
}

export type Installed = ReturnType<typeof createInstalled>;

/** Short, because paths of programs in it stand in first lines (`#!`), which the kernel cuts. */
function nameOf({ digest, commands, inputs }: InstallRequest): string {
  const key = createHash('sha256')
    .update(JSON.stringify([digest, commands, Object.entries(inputs).toSorted(([a], [b]) => (a < b ? -1 : 1))]))
    .digest('hex');
  return `${digest.replace(/^\w+:/, '').slice(0, 12)}-${key.slice(0, 20)}`;
}
