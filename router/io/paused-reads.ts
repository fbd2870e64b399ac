/**
 * What comes of a stream while it is paused: as much as its window lets in, and Node, which keeps it in the stream, has no word
 * for it. Each part is kept in bytes of its own: it lies in what was read of the connection at once, which would be kept whole.
 */
import type { Http2Stream } from 'node:http2';
import { ownCopy } from './socket-state.ts';

/** What a part costs besides its bytes. */
const partBytes = 256;

export class PausedReads {
  readonly #stream: Http2Stream;
  #parts = 0;

  /** @param onMore hears of each part. */
  constructor(stream: Http2Stream, onMore: () => void) {
    this.#stream = stream;
    const push = stream.push.bind(stream);
    stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
      if (!Buffer.isBuffer(chunk) || !stream.isPaused()) return push(chunk, encoding);
      this.#parts += 1;
      const more = push(ownCopy(chunk));
      onMore();
      return more;
    };
  }

  get bytes(): number {
    const { readableLength } = this.#stream;
    if (readableLength === 0) this.#parts = 0;
    return readableLength + this.#parts * partBytes;
  }
}
