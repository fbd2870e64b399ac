/** Trees on this agent's disk: made once for all who want the same, kept while used, and then as long as there is room. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { UnpackedTree } from '../../shared/source/unpack.ts';
import { SharedTask } from '../../shared/wait/shared-task.ts';
import type { Tree } from './sources.ts';
import { Turns } from './turns.ts';

export interface TreeCache {
  /**
   * @param make puts the tree into `target`, which is not there yet, or leaves nothing.
   * @throws what `make` throws; the signal's reason.
   */
  get(
    key: string,
    make: (target: string, signal: AbortSignal) => Promise<UnpackedTree>,
    signal: AbortSignal,
  ): Promise<Tree>;
  /** What is under way is ended. */
  close(): Promise<void>;
}

interface Entry {
  readonly folder: string;
  readonly task: SharedTask;
  tree: UnpackedTree | undefined;
  /** Who has it or waits for it. */
  users: number;
}

/** What a file takes on disk beyond its content, about. */
const fileBytes = 4_096;

/** Empties the folder, which is the cache's own. */
export async function createTreeCache(deps: {
  readonly folder: string;
  /** What is in use may be more. */
  readonly maxBytes: number;
  readonly maxAtOnce: number;
  readonly log: Log;
}): Promise<TreeCache> {
  const { folder, maxBytes, log } = deps;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  /** The one that was used last is the last one. */
  const entries = new Map<string, Entry>();
  const removals = new Set<Promise<void>>();
  const turns = new Turns(deps.maxAtOnce);
  let closed = false;

  function begin(key: string, make: (target: string, signal: AbortSignal) => Promise<UnpackedTree>): Entry {
    const place = join(folder, randomUUID());
    const task = new SharedTask(async (signal) => {
      // Deferred, so that the entry is there before anything of it is told.
      await Promise.resolve();
      try {
        entry.tree = await turns.run(signal, () => make(place, signal));
      } catch (error) {
        if (entries.get(key) === entry) entries.delete(key);
        throw error;
      }
    });
    const entry: Entry = { folder: place, task, tree: undefined, users: 0 };
    entries.set(key, entry);
    return entry;
  }

  function evict(): void {
    let bytes = 0;
    for (const { tree } of entries.values()) bytes += diskBytes(tree);
    for (const [key, entry] of entries) {
      if (bytes <= maxBytes) return;
      if (entry.users > 0 || entry.tree === undefined) continue;
      entries.delete(key);
      bytes -= diskBytes(entry.tree);
      const removal = rm(entry.folder, { recursive: true, force: true })
        .catch((error: unknown) => log.warn({ err: error, folder: entry.folder }, 'a tree could not be removed'))
        .finally(() => removals.delete(removal));
      removals.add(removal);
    }
  }

  function use(key: string, entry: Entry): void {
    entry.users += 1;
    if (entries.get(key) !== entry) return;
    entries.delete(key);
    entries.set(key, entry);
  }

  function leave(entry: Entry): void {
    entry.users -= 1;
    evict();
  }

  return {
    async get(key, make, signal) {
      for (;;) {
        signal.throwIfAborted();
        if (closed) throw new AppError('cancelled', 'the agent stops');
        const known = entries.get(key);
        if (known?.task.aborted === true && known.tree === undefined) {
          // All who wanted it had left: what it did is undone first.
          await known.task.settled;
          continue;
        }
        const entry = known ?? begin(key, make);
        use(key, entry);
        try {
          await entry.task.join(signal);
        } catch (error) {
          leave(entry);
          signal.throwIfAborted();
          throw error;
        }
        if (entry.tree === undefined) throw new AppError('internal', 'a tree was made that is not there');
        evict();
        let released = false;
        return {
          folder: entry.folder,
          digest: entry.tree.digest,
          release() {
            if (!released) leave(entry);
            released = true;
          },
        };
      }
    },
    async close() {
      closed = true;
      const reason = new AppError('cancelled', 'the agent stops');
      await Promise.all(
        [...entries.values()].filter(({ tree }) => tree === undefined).map(({ task }) => task.abort(reason)),
      );
      await Promise.all(removals);
    },
  };
}

function diskBytes(tree: UnpackedTree | undefined): number {
  return tree === undefined ? 0 : tree.bytes + tree.files * fileBytes;
}
