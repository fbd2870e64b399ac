/** Trees on this agent's disk: made once for all who want the same one, kept while used, and then as long as there is room. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { UnpackedTree } from '../../shared/source/unpack.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import { SharedTask } from '../../shared/wait/shared-task.ts';
import type { Tree } from './sources.ts';

/** Puts the tree into `target`, which does not exist yet, or leaves nothing there. */
type MakeTree = (target: string, signal: AbortSignal) => Promise<UnpackedTree>;

interface Entry {
  readonly folder: string;
  readonly task: SharedTask<UnpackedTree>;
  /** Undefined until it is made. */
  tree: UnpackedTree | undefined;
  /** The number of callers that have the tree or wait for it. */
  users: number;
}

/** The approximate size of a file on disk besides its content. */
const fileBytes = 4_096;

/** Empties the folder, which belongs to the cache alone. */
export async function createTreeCache(deps: {
  readonly folder: string;
  /** A bound for trees that are not in use; those in use may take more. */
  readonly maxBytes: number;
  readonly maxAtOnce: number;
  readonly log: Log;
}) {
  const { folder, maxBytes, log } = deps;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  /** The last entry is the one that was used last. */
  const entries = new Map<string, Entry>();
  const removals = new Set<Promise<void>>();
  const turns = new Semaphore({ places: deps.maxAtOnce });
  let closed = false;

  function begin(key: string, make: MakeTree): Entry {
    const target = join(folder, randomUUID());
    const task = new SharedTask(async (signal) => {
      try {
        return (entry.tree = await turns.run({ signal }, () => make(target, signal)));
      } catch (error) {
        if (entries.get(key) === entry) entries.delete(key);
        throw error;
      }
    });
    const entry: Entry = { folder: target, task, tree: undefined, users: 0 };
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
        .catch((error: unknown) =>
          log.warn({ err: error, folder: entry.folder }, 'could not remove a tree from the cache'),
        )
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

  /** The entry of the key, once it is not one whose work is being undone. */
  async function find(key: string, make: MakeTree, signal: AbortSignal): Promise<Entry> {
    for (;;) {
      signal.throwIfAborted();
      if (closed) throw new AppError('cancelled', 'the agent stops');
      const known = entries.get(key);
      if (known === undefined) return begin(key, make);
      if (!known.task.aborted || known.tree !== undefined) return known;
      await known.task.settled;
    }
  }

  return {
    /** @throws what `make` throws; AppError cancelled; the signal's reason. */
    async get(key: string, make: MakeTree, signal: AbortSignal): Promise<Tree> {
      const entry = await find(key, make, signal);
      use(key, entry);
      let tree: UnpackedTree;
      try {
        tree = await entry.task.join(signal);
      } catch (error) {
        leave(entry);
        signal.throwIfAborted();
        throw error;
      }
      evict();
      let released = false;
      return {
        folder: entry.folder,
        digest: tree.digest,
        release() {
          if (!released) leave(entry);
          released = true;
        },
      };
    },
    /** Ends what is under way. */
    async close(): Promise<void> {
      closed = true;
      const reason = new AppError('cancelled', 'the agent stops');
      const unfinished = [...entries.values()].filter(({ tree }) => tree === undefined);
      await Promise.all(unfinished.map(({ task }) => task.abort(reason)));
      await Promise.all(removals);
    },
  };
}

export type TreeCache = Awaited<ReturnType<typeof createTreeCache>>;

function diskBytes(tree: UnpackedTree | undefined): number {
  return tree === undefined ? 0 : tree.bytes + tree.files * fileBytes;
}
