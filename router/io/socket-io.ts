/**
 * Reads and writes of TCP sockets without the streams around them, which cost a call a sixth of its CPU time (docs/benchmarks.md):
 * reads go to a buffer that all sockets share, and a write that the kernel takes at once, as nearly all are, makes no object.
 * Opening, closing, ends and errors stay with `net.Socket`; where there is no TCP handle (TLS), streams are used as usual.
 */
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { failure, pauseReading, resumeReading, unsentBytes, writeToStream, type DirectSocket } from './socket-state.ts';
import { handleOf, openStreamBinding, type Reader, type StreamBinding, type TcpHandle } from './stream-binding.ts';

/** A socket that survives some failures of a write. */
interface Tolerant {
  tolerates?(error: NodeJS.ErrnoException): boolean;
}

const nothing = Buffer.alloc(0);

export class SocketIo {
  readonly #binding: StreamBinding | undefined;
  /** Request for the next write; used again until a write keeps it. */
  #spare: InstanceType<StreamBinding['WriteWrap']> | undefined;
  /** One function for all handles. */
  readonly #onRead: TcpHandle['onread'] | undefined;

  /** @param binding null to use streams alone. */
  constructor(binding: StreamBinding | null = openStreamBinding() ?? null) {
    this.#binding = binding ?? undefined;
    this.#spare = binding === null ? undefined : new binding.WriteWrap();
    this.#onRead = binding === null ? undefined : onReadOf(binding);
  }

  /**
   * Makes the socket read into `buffer` and call `reader`, instead of its 'data' events. The socket must not have read yet.
   * @returns false where only its stream can read.
   */
  read(socket: Socket, buffer: Buffer, reader: Reader): boolean {
    const handle = this.#tcpHandle(socket);
    if (handle === undefined || this.#onRead === undefined) return false;
    if (typeof handle.useUserBuffer !== 'function' || typeof handle.onread !== 'function') return false;
    handle.original = handle.onread;
    handle.reader = reader;
    handle.onread = this.#onRead;
    handle.useUserBuffer(buffer);
    if (!handle.reading) resumeReading(socket);
    return true;
  }

  /** Goes back to 'data' events: from now on the stream gets what is read, copied from `buffer`. */
  returnToStream(socket: Socket, buffer: Buffer): void {
    const handle = this.#tcpHandle(socket);
    if (handle?.reader === undefined) return;
    handle.reader = (count) => {
      if (!socket.push(Buffer.from(buffer.subarray(0, count)))) pauseReading(socket);
      return undefined;
    };
  }

  /**
   * Writes `bytes`, behind what was written before, and then `lent`.
   * @param lent must stay as it is until nothing waits.
   * @returns whether `bytes` may be overwritten at once; otherwise they must stay as they are, too.
   */
  write(socket: Writable, bytes: Buffer | undefined, lent?: Buffer): boolean {
    const handle = this.#tcpHandle(socket);
    const request = this.#spare;
    if (handle === undefined || request === undefined || unsentBytes(socket) > 0 || socket.writableEnded) {
      writeToStream(socket, bytes, lent);
      return true;
    }
    let status = 0;
    if (bytes === undefined) status = lent === undefined ? 0 : handle.writeBuffer(request, lent);
    else if (lent === undefined) status = handle.writeBuffer(request, bytes);
    else status = handle.writev(request, [bytes, lent], true);
    if (status !== 0) {
      writeFailed(socket, status);
      return true;
    }
    const { streamBaseState, kLastWriteWasAsync, WriteWrap } = this.#binding as StreamBinding;
    if (streamBaseState[kLastWriteWasAsync] === 0) return true;
    this.#spare = new WriteWrap();
    const direct = socket as DirectSocket;
    direct.directBytes = (bytes?.length ?? 0) + (lent?.length ?? 0);
    direct.directHeldBytes = (bytes?.buffer.byteLength ?? 0) + (lent?.buffer.byteLength ?? 0);
    request.bytes = [bytes, lent];
    request.oncomplete = (result) => {
      request.bytes = undefined;
      direct.directBytes = 0;
      direct.directHeldBytes = 0;
      if (direct.destroyed) return;
      if (result < 0) writeFailed(direct, result);
      // If the stream has something to write too, it fires 'drain' itself.
      if (!direct.destroyed && !direct.writableNeedDrain) direct.emit('drain');
    };
    return false;
  }

  /**
   * Destroys the socket if its peer has reset it, which a paused socket would not notice before its deadlines: an empty write
   * fails then, and is nothing on the wire. It does not detect a peer that has only ended its half.
   */
  endIfReset(socket: Writable): void {
    const handle = this.#tcpHandle(socket);
    if (handle === undefined || this.#spare === undefined || unsentBytes(socket) > 0 || socket.writableEnded) return;
    const status = handle.writeBuffer(this.#spare, nothing);
    if (status !== 0) writeFailed(socket, status);
  }

  /** The handle of an open plain TCP socket. */
  #tcpHandle(socket: Writable): TcpHandle | undefined {
    if (this.#binding === undefined) return undefined;
    const handle = handleOf(socket);
    if (handle === undefined) return undefined;
    handle.isTcp ??= handle.constructor.name === 'TCP';
    return handle.isTcp ? handle : undefined;
  }
}

/** @returns the `onread` of all handles: bytes go to the reader, ends and errors to the socket. */
function onReadOf({ streamBaseState, kReadBytesOrError }: StreamBinding): TcpHandle['onread'] {
  return function onRead(bytes) {
    const count = streamBaseState[kReadBytesOrError] as number;
    if (count > 0 && this.reader !== undefined) return this.reader(count);
    return this.original(bytes);
  };
}

function writeFailed(socket: Writable & Tolerant, status: number): void {
  const error = failure('write', status);
  if (socket.tolerates?.(error) !== true) socket.destroy(error);
}
