/**
 * A socket to an app whose writes may fail without ending its reads: an app that answers before it has read a body (413, say)
 * and closes makes the next write fail, and its answer lies unread in the kernel. Node would throw that away with the socket.
 */
import { Socket } from 'node:net';

type Done = (error?: Error | null) => void;

export class UpstreamSocket extends Socket {
  /** From the first request with a body on. */
  outlivesWrites = false;
  /** Code of the first write that failed: nothing more gets there. */
  writeFailure: string | undefined;

  override _write(chunk: Buffer, encoding: BufferEncoding, done: Done): void {
    super._write(chunk, encoding, this.outlivesWrites ? this.#tolerant(done) : done);
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: Done): void {
    // Defined by every net.Socket, though its type does not say so.
    super._writev?.(chunks, this.outlivesWrites ? this.#tolerant(done) : done);
  }

  /**
   * Whether what it has read is all that the app said. Linux tells EPIPE where the FIN had come before the reset, and
   * ECONNRESET where it had not, RFC 9293 §3.10.7.4.
   */
  get endIsProper(): boolean {
    return this.writeFailure === undefined || this.writeFailure === 'EPIPE';
  }

  /** @returns whether it goes on as if written. The reads go on: to the end of what has come, and then they end or fail, too. */
  tolerates(error: NodeJS.ErrnoException): boolean {
    if (!this.outlivesWrites) return false;
    this.writeFailure ??= error.code ?? '';
    return !this.destroyed;
  }

  #tolerant(done: Done): Done {
    return (error) => done(error == null || this.tolerates(error) ? null : error);
  }
}
