/**
 * Copies of snapshots in which what the source needs has been installed: `<folder>/<digest>-<key>/tree`, one for a snapshot
 * and the commands that made it, whoever runs it. The snapshot itself, and the folder it came from, are never written to.
 */
import { createHash, randomUUID } from 'node:crypto';
import { constants, existsSync, renameSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import { runInstall } from './install.ts';
import type { RunFiles } from './run-files.ts';
import { SharedTask } from '../../../shared/wait/shared-task.ts';

export interface InstallRequest {
  /** Name of the snapshot: `sha256:<hex>…` or `git:<commit>…`. */
  readonly digest: string;
  readonly snapshot: string;
  readonly commands: readonly (readonly string[])[];
  /** What a change of which makes another copy. */
  readonly inputs: Readonly<Record<string, string>>;
  /** @param tree the copy, whose programs may have to be found. */
  readonly env: (tree: string) => Readonly<Record<string, string>>;
}

export interface InstallListener {
  readonly onStep: (title: string) => void;
  readonly onLine: (line: string) => void;
}

export interface Installed {
  /**
   * The copy, made now or there already. Those who ask for the same one share the work, which ends when the last has left.
   * @throws AppError build_failed, build_timeout, platform_error, cancelled.
   */
  ready(request: InstallRequest, listener: InstallListener, signal: AbortSignal): Promise<string>;
  /** Removes the copies of snapshots that `keep` does not want. */
  prune(keep: (digest: string) => boolean): Promise<void>;
  /** Ends what is under way. */
  close(): Promise<void>;
}

const doomedPrefix = '.tmp-';

export function createInstalled(deps: {
  readonly folder: string;
  readonly runFiles: Pick<RunFiles, 'add' | 'remove'>;
  readonly timeoutMs: number;
}): Installed {
  const { folder, runFiles, timeoutMs } = deps;
  const tasks = new Map<string, { readonly task: SharedTask; readonly listeners: Set<InstallListener> }>();
  let closed = false;

  async function make(
    place: string,
    request: InstallRequest,
    listeners: ReadonlySet<InstallListener>,
    signal: AbortSignal,
  ): Promise<void> {
    const tree = join(place, 'tree');
    // Deferred, so that the task is known before anything is told.
    await Promise.resolve();
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
        request.commands.map((argv) => ({ argv, cwd: tree, env })),
        {
          runFiles,
          timeoutMs,
          signal,
          onStep: (title) => listeners.forEach((listener) => listener.onStep(title)),
          onLine: (line) => listeners.forEach((listener) => listener.onLine(line)),
        },
      );
      await writeFile(join(place, 'done'), '');
    } catch (error) {
      await rm(place, { recursive: true, force: true });
      throw error;
    }
  }

  return {
    async ready(request, listener, signal) {
      const place = join(folder, nameOf(request));
      for (;;) {
        if (closed) throw new AppError('cancelled', 'the agent is shutting down');
        if (existsSync(join(place, 'done'))) return join(place, 'tree');
        let running = tasks.get(place);
        if (running?.task.aborted === true) {
          // One that is being undone is not joined but waited for.
          await running.task.settled;
          continue;
        }
        if (running === undefined) {
          const listeners = new Set<InstallListener>();
          const task = new SharedTask((inner) =>
            make(place, request, listeners, inner).finally(() => {
              tasks.delete(place);
            }),
          );
          tasks.set(place, (running = { task, listeners }));
        }
        running.listeners.add(listener);
        try {
          await running.task.join(signal);
        } finally {
          running.listeners.delete(listener);
        }
      }
    },

    async prune(keep) {
      for (const name of await readdir(folder).catch(() => [])) {
        const place = join(folder, name);
        const digest = await readFile(join(place, 'digest'), 'utf8').catch(() => undefined);
        const isDoomed = name.startsWith(doomedPrefix) || digest === undefined || !keep(digest);
        if (!isDoomed || tasks.has(place)) continue;
        const doomed = join(folder, `${doomedPrefix}${randomUUID()}`);
        // Synchronous: between the question and the answer nobody can find it there.
        renameSync(place, doomed);
        await rm(doomed, { recursive: true, force: true });
      }
    },

    async close() {
      closed = true;
      const reason = new AppError('cancelled', 'the agent is shutting down');
      await Promise.all([...tasks.values()].map(({ task }) => task.abort(reason)));
    },
  };
}

/** Short: paths of programs in it are written into their first lines, which the kernel cuts. */
function nameOf({ digest, commands, inputs }: InstallRequest): string {
  const key = createHash('sha256')
    .update(JSON.stringify([digest, commands, Object.entries(inputs).toSorted(([a], [b]) => (a < b ? -1 : 1))]))
    .digest('hex');
  return `${digest.replace(/^\w+:/, '').slice(0, 12)}-${key.slice(0, 20)}`;
}
