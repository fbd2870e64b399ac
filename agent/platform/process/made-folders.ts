/** Folders that are made once and shared by all who ask for them: `<folder>/<name>`, with a file `done` when they are complete. */
import { randomUUID } from 'node:crypto';
import { existsSync, renameSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import { SharedTask } from '../../../shared/wait/shared-task.ts';

/** Fills the folder. If it throws, the folder is removed. */
export type MakeFolder<Progress> = (
  place: string,
  signal: AbortSignal,
  report: (progress: Progress) => void,
) => Promise<void>;

const doomedPrefix = '.tmp-';

export class MadeFolders<Progress> {
  readonly #folder: string;
  readonly #tasks = new Map<string, SharedTask<void, Progress>>();
  #closed = false;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Returns the folder of the name, made now or before. Callers that want the same one share the work, which ends when the last one leaves.
   * @throws what `make` throws; AppError cancelled.
   */
  async ready(
    name: string,
    make: MakeFolder<Progress>,
    { onProgress, signal }: { readonly onProgress: (progress: Progress) => void; readonly signal: AbortSignal },
  ): Promise<string> {
    const place = join(this.#folder, name);
    for (;;) {
      if (this.#closed) throw new AppError('cancelled', 'the agent is shutting down');
      if (existsSync(join(place, 'done'))) return place;
      let task = this.#tasks.get(name);
      if (task?.aborted === true) {
        // Work that is being undone cannot be joined.
        await task.settled;
        continue;
      }
      if (task === undefined) {
        task = new SharedTask((inner, report) =>
          this.#make(place, (signalOfAll) => make(place, signalOfAll, report), inner).finally(() => {
            this.#tasks.delete(name);
          }),
        );
        this.#tasks.set(name, task);
      }
      await task.join(signal, onProgress);
    }
  }

  async #make(place: string, make: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    try {
      await rm(place, { recursive: true, force: true });
      await mkdir(place, { recursive: true });
      await make(signal);
      await writeFile(join(place, 'done'), '');
    } catch (error) {
      await rm(place, { recursive: true, force: true });
      throw error;
    }
  }

  /** The names of the folders that are there, those that are being made included. */
  async names(): Promise<string[]> {
    return await readdir(this.#folder).catch(() => []);
  }

  /** Removes the folders that are not wanted and not being made. @param isWanted decides by the name. */
  async prune(isWanted: (name: string) => boolean): Promise<void> {
    for (const name of await this.names()) {
      if (this.#tasks.has(name) || (!name.startsWith(doomedPrefix) && isWanted(name))) continue;
      const doomed = join(this.#folder, `${doomedPrefix}${randomUUID()}`);
      // Synchronous, so that nobody can find the folder between the check and the removal.
      renameSync(join(this.#folder, name), doomed);
      await rm(doomed, { recursive: true, force: true });
    }
  }

  /** Ends the work that is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    const reason = new AppError('cancelled', 'the agent is shutting down');
    await Promise.all([...this.#tasks.values()].map((task) => task.abort(reason)));
  }
}
