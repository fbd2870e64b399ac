/**
 * Counts what an HTTP/2 stream receives while it is paused: as much as its window allows, which Node buffers in the stream without
 * an event. Each part is copied, because it would keep the whole chunk that was read from the connection.
 */
import type { Http2Stream } from 'node:http2';
import { ownCopy } from './socket-state.ts';

/** Memory that a part costs besides its bytes. */
const partBytes = 256;

export class PausedReads {
  readonly #stream: Http2Stream;
  #parts = 0;

  /** @param onMore called for each part. */
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
