/** Turns uploaded parts of an archive into a source: what `sources.begin` and `sources.complete` do. */
import { createHash } from 'node:crypto';
import { withDeadline } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { Semaphore } from '../../shared/wait/semaphore.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import { sourceInvalid, type SourceLimits } from '../../shared/source/limits.ts';
import { inspectTree } from '../../shared/source/unpack.ts';
import type { UploadStore, UploadedTree } from '../store/upload-store.ts';

const maxChecksAtOnce = 2;
const checkTimeoutMs = 300_000;

export function createUploads(deps: {
  readonly store: UploadStore;
  readonly limits: SourceLimits;
  readonly clock: Clock;
}) {
  const { store, limits, clock } = deps;
  const turns = new Semaphore({ places: maxChecksAtOnce });

  async function check(archive: string, signal: AbortSignal): Promise<UploadedTree> {
    const hash = createHash('sha256');
    for await (const data of store.read(archive)) {
      signal.throwIfAborted();
      hash.update(data);
    }
    if (hash.digest('hex') !== archive)
      throw incomplete('the archive does not have the digest under which it was uploaded');
    return await inspectTree({ input: store.read(archive), gzip: true, limits, signal });
  }

  return {
    /** @throws AppError source_invalid over the bound; too_many_calls, store_unavailable */
    async begin(
      archive: string,
      bytes: number,
      token: string,
    ): Promise<{ partBytes: number; missing: number[]; source: string | null }> {
      if (bytes > limits.maxBytes)
        throw sourceInvalid('the archive', `is larger than ${limits.maxBytes} bytes (source.max_bytes)`);
      const upload = await store.begin(archive, bytes, token);
      const { tree, partBytes } = upload;
      if (tree !== undefined) return { partBytes, missing: [], source: sourceOf(tree) };
      return { partBytes, missing: await store.missing(archive, upload), source: null };
    },

    /**
     * Checks the digest of the whole archive, and that it may be unpacked. An archive that is refused is deleted.
     * @throws AppError upload_incomplete, source_invalid, store_unavailable; the signal's reason.
     */
    async complete(archive: string, signal: AbortSignal): Promise<{ source: string; files: number; bytes: number }> {
      const upload = await store.get(archive);
      if (upload === undefined) throw incomplete('this archive was not uploaded');
      const missing = upload.tree === undefined ? await store.missing(archive, upload) : [];
      if (missing.length > 0)
        throw incomplete(`${missing.length} parts of the upload are missing`, { missing: missing.length });
      let { tree } = upload;
      if (tree === undefined) {
        const reason = (): AppError =>
          new AppError('source_unavailable', `the upload was not checked within ${checkTimeoutMs / 1_000} s`, {
            phase: 'source',
          });
        try {
          tree = await turns.run({ signal }, () =>
            withDeadline({ clock, ms: checkTimeoutMs, signal, reason }, (limited) => check(archive, limited)),
          );
        } catch (error) {
          const { code } = toAppError(error);
          if (code === 'source_invalid' || code === 'upload_incomplete') await store.remove(archive);
          throw error;
        }
        await store.complete(archive, tree);
      }
      return { source: sourceOf(tree), files: tree.files, bytes: tree.bytes };
    },
  };
}

export type Uploads = ReturnType<typeof createUploads>;

function sourceOf(tree: UploadedTree): string {
  return `upload:${tree.digest}`;
}

function incomplete(message: string, data?: Readonly<Record<string, unknown>>): AppError {
  return new AppError('upload_incomplete', `${message}: run \`holdfast deploy\` again`, { phase: 'source', data });
}
