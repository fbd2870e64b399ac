/** The context of a build as tar.gz: the tree as it is, and the files of a preset. The builder applies .dockerignore. */
import { Readable } from 'node:stream';
import { defaultSourceLimits } from '../../shared/source/limits.ts';
import { packTree } from '../../shared/source/pack.ts';
import { walkTree } from '../../shared/source/tree-walk.ts';

export interface BuildContext {
  readonly folder: string;
  /** Contents by path that are added to the folder. */
  readonly extraFiles: Readonly<Record<string, string>>;
}

/** Lists the tree, and packs it as the stream is read. */
export async function packContext(
  { folder, extraFiles }: BuildContext,
  source: { readonly max_files: number },
  signal: AbortSignal,
): Promise<Readable> {
  const limits = { ...defaultSourceLimits, maxFiles: source.max_files };
  const listing = await walkTree({ root: folder, limits, signal });
  return packTree({ root: folder, listing, extraFiles, signal });
}

/** Packs the same stream, but begins when it is read. Destroying it ends reading the tree. */
export function contextStream(context: BuildContext, source: { readonly max_files: number }): Readable {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const left = new AbortController();
    try {
      yield* (await packContext(context, source, left.signal)) as AsyncIterable<Uint8Array>;
    } finally {
      left.abort();
    }
  }
  return Readable.from(chunks(), { objectMode: false });
}
