/** The context of a build as one stream, begun when it is read: for builders that are sent it. */
import { Readable } from 'node:stream';
import { packContext } from './kaniko/pack-context.ts';

export interface BuildContext {
  readonly folder: string;
  readonly extraFiles: Readonly<Record<string, string>>;
}

/** tar.gz. Destroyed, it reads no more of the tree. */
export function contextStream(context: BuildContext, source: { readonly max_files: number }): Readable {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const left = new AbortController();
    try {
      const packed = await packContext(context, source, left.signal);
      yield* packed as AsyncIterable<Uint8Array>;
    } finally {
      left.abort();
    }
  }
  return Readable.from(chunks(), { objectMode: false });
}
