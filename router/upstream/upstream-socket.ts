/**
 * A socket to an app whose writes may fail without ending its reads: an app that answers before it has read a body (413, say)
 * and closes makes the next write fail, while its answer lies unread in the kernel. Node would throw that away with the socket.
 */
import { Socket, type SocketConstructorOpts } from 'node:net';

type Done = (error?: Error | null) => void;

/** Hears of a socket's events, by one function each for all sockets. */
export interface UpstreamSocketOwner {
  connected(): void;
  data(chunk: Buffer): void;
  drained(): void;
  ended(): void;
  failed(error: Error): void;
  closed(): void;
}

export class UpstreamSocket extends Socket {
  readonly owner: UpstreamSocketOwner;
  /** Set by the first request with a body. */
  outlivesWrites = false;
  /** Code of the first write that failed: nothing more gets there. */
  writeFailure: string | undefined;

  constructor(options: SocketConstructorOpts, owner: UpstreamSocketOwner) {
    super(options);
    this.owner = owner;
    this.on('connect', onConnect);
    this.on('drain', onDrain);
    this.on('end', onEnd);
    this.on('error', onError);
    this.on('close', onClose);
  }

  /** For a socket that cannot be read directly. */
  readAsStream(): void {
    this.on('data', onData);
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: Done): void {
    super._write(chunk, encoding, this.outlivesWrites ? this.#tolerant(done) : done);
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: Done): void {
    // Every net.Socket has it, though its type does not say so.
    super._writev?.(chunks, this.outlivesWrites ? this.#tolerant(done) : done);
  }

  /**
   * Whether what was read is all that the app said. Linux reports EPIPE where the FIN came before the reset, and ECONNRESET
   * where it did not, RFC 9293 §3.10.7.4.
   */
  get endIsProper(): boolean {
    return this.writeFailure === undefined || this.writeFailure === 'EPIPE';
  }

  /** @returns whether to go on as if written. Reads go on to the end of what has come, and then end or fail, too. */
  tolerates(error: NodeJS.ErrnoException): boolean {
    if (!this.outlivesWrites) return false;
    this.writeFailure ??= error.code ?? '';
    return !this.destroyed;
  }

  #tolerant(done: Done): Done {
    return (error) => done(error == null || this.tolerates(error) ? null : error);
  }
}

function onConnect(this: UpstreamSocket): void {
  this.owner.connected();
}

function onData(this: UpstreamSocket, chunk: Buffer): void {
  this.owner.data(chunk);
}

function onDrain(this: UpstreamSocket): void {
  this.owner.drained();
}

function onEnd(this: UpstreamSocket): void {
  this.owner.ended();
}

function onError(this: UpstreamSocket, error: Error): void {
  this.owner.failed(error);
}

function onClose(this: UpstreamSocket): void {
  this.owner.closed();
}
