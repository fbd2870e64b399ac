/**
 * Reads and writes of TCP sockets without the streams around them, which cost a call a sixth of its CPU time (docs/benchmarks.md):
 * what is read lies in a buffer that all sockets share, and a write that the kernel takes at once, as nearly all are, makes
 * no object. Opening, closing, ends and errors stay with `net.Socket`. It rests on what Node has below its sockets and does not
 * document; so it is all in this file, Node is pinned, and where something is missing (TLS) streams are used as usual.
 */
import type { Socket } from 'node:net';
import type { Duplex, Writable } from 'node:stream';
import { getSystemErrorName } from 'node:util';

/** Of `node:internal/stream_base_commons` and `node:net`. */
interface TcpHandle {
  reading: boolean;
  onread: (this: TcpHandle, bytes: ArrayBuffer | undefined) => Uint8Array | undefined;
  /** @returns 0, or a negative errno. */
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number;
  writev(request: WriteRequest, parts: readonly Uint8Array[], allBuffers: true): number;
  readStart(): number;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
  /** Ours. */
  isTcp: boolean | undefined;
  reader: Reader | undefined;
  original: TcpHandle['onread'];
}

interface WriteRequest {
  oncomplete: ((status: number) => void) | undefined;
  /** What must not be collected meanwhile. */
  bytes: readonly (Uint8Array | undefined)[] | undefined;
}

interface StreamWrap {
  readonly WriteWrap: new () => WriteRequest;
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kLastWriteWasAsync: number;
}

/** Hears of what was read, which is in the buffer until it returns. @returns a buffer to read on in, where that is another one. */
export type Reader = (count: number) => Buffer | undefined;

/** A socket that may do without some writes. */
interface Tolerant {
  tolerates?(error: NodeJS.ErrnoException): boolean;
}

interface DirectSocket extends Socket, Tolerant {
  _handle: TcpHandle | null;
  /** Of a write that the kernel has not taken at once; and of the memory that it keeps. */
  directBytes?: number;
  directHeldBytes?: number;
  /** Of what was lent to the stream: memory around its bytes. */
  lentBytes?: number;
  /** It speaks TLS. */
  readonly encrypted?: boolean;
  readonly _writableState?: { readonly bufferedRequestCount?: number; highWaterMark: number };
}

const wrap = streamWrap();

function streamWrap(): StreamWrap | undefined {
  try {
    const found = (process as unknown as { binding(name: string): Partial<StreamWrap> }).binding('stream_wrap');
    const whole =
      typeof found.WriteWrap === 'function' &&
      found.streamBaseState !== undefined &&
      typeof found.kReadBytesOrError === 'number' &&
      typeof found.kLastWriteWasAsync === 'number';
    return whole ? (found as StreamWrap) : undefined;
  } catch {
    return undefined;
  }
}

/** The handle of an open plain TCP socket. */
function tcpHandle(socket: Writable): TcpHandle | undefined {
  const handle = (socket as DirectSocket)._handle;
  if (wrap === undefined || handle === null || handle === undefined) return undefined;
  handle.isTcp ??= handle.constructor.name === 'TCP';
  return handle.isTcp ? handle : undefined;
}

// ---- Reads

/**
 * Has the socket read into `buffer` and tell `reader`, instead of its 'data' events. For a socket that has read nothing yet.
 * @returns whether it does.
 */
export function readDirectly(socket: Socket, buffer: Buffer, reader: Reader): boolean {
  const handle = tcpHandle(socket);
  if (handle === undefined || typeof handle.useUserBuffer !== 'function' || typeof handle.onread !== 'function') {
    return false;
  }
  handle.original = handle.onread;
  handle.reader = reader;
  handle.onread = onRead;
  handle.useUserBuffer(buffer);
  if (!handle.reading) resumeReading(socket);
  return true;
}

/** Back to 'data' events: what comes from now on goes to the stream, copied from `buffer`. */
export function stopReadingDirectly(socket: Socket, buffer: Buffer): void {
  const handle = tcpHandle(socket);
  if (handle?.reader === undefined) return;
  handle.reader = (count) => {
    // The stream reads on by itself.
    if (!socket.push(Buffer.from(buffer.subarray(0, count)))) pauseReading(socket);
    return undefined;
  };
}

/** One function for all sockets. */
function onRead(this: TcpHandle, bytes: ArrayBuffer | undefined): Uint8Array | undefined {
  const { streamBaseState, kReadBytesOrError } = wrap as StreamWrap;
  const count = streamBaseState[kReadBytesOrError] as number;
  if (count > 0 && this.reader !== undefined) return this.reader(count);
  return this.original(bytes);
}

export function pauseReading(socket: Duplex): void {
  const handle = tcpHandle(socket);
  if (handle?.reader === undefined) {
    socket.pause();
    return;
  }
  if (!handle.reading) return;
  handle.reading = false;
  const status = handle.readStop();
  if (status !== 0) socket.destroy(failure('read', status));
}

export function resumeReading(socket: Duplex): void {
  const handle = tcpHandle(socket);
  if (handle?.reader === undefined) {
    socket.resume();
    return;
  }
  if (handle.reading) return;
  handle.reading = true;
  const status = handle.readStart();
  if (status !== 0) socket.destroy(failure('read', status));
}

// ---- Writes

/** Used again and again, until a write keeps it. */
let spare = wrap === undefined ? undefined : new wrap.WriteWrap();

/**
 * Writes, behind what was written before, `bytes` and what is lent to be written behind them.
 * @param lent must stay as it is until nothing waits.
 * @returns whether `bytes` may be written over at once; otherwise they must stay as they are, too.
 */
export function writeDirectly(socket: Writable, bytes: Buffer | undefined, lent?: Buffer): boolean {
  const handle = tcpHandle(socket);
  if (handle === undefined || spare === undefined || unsentBytes(socket) > 0 || socket.writableEnded) {
    writeToStream(socket, bytes, lent);
    return true;
  }
  const { streamBaseState, kLastWriteWasAsync, WriteWrap } = wrap as StreamWrap;
  const request = spare;
  let status = 0;
  if (bytes === undefined) status = lent === undefined ? 0 : handle.writeBuffer(request, lent);
  else if (lent === undefined) status = handle.writeBuffer(request, bytes);
  else status = handle.writev(request, [bytes, lent], true);
  if (status !== 0) {
    writeFailed(socket, status);
    return true;
  }
  if (streamBaseState[kLastWriteWasAsync] === 0) return true;
  spare = new WriteWrap();
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
    // Where the stream has something too, it tells when it has got rid of that.
    if (!direct.destroyed && !direct.writableNeedDrain) direct.emit('drain');
  };
  return false;
}

/** Of the bytes a copy, in bytes of their own: a pool, or what others write into, would be kept whole for as long as they wait. */
function writeToStream(socket: Writable, bytes: Buffer | undefined, lent: Buffer | undefined): void {
  const both = bytes !== undefined && lent !== undefined;
  if (both) socket.cork();
  if (bytes !== undefined) socket.write(ownCopy(bytes));
  if (lent !== undefined) {
    const direct = socket as DirectSocket;
    direct.lentBytes = (direct.lentBytes ?? 0) + lent.buffer.byteLength - lent.length;
    socket.write(lent);
  }
  if (both) socket.uncork();
}

/** In memory that is that of nobody else, not of a pool. */
export function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

/** That were written and the kernel has not taken. */
export function unsentBytes(socket: Writable): number {
  return socket.writableLength + ((socket as DirectSocket).directBytes ?? 0);
}

/** What each of several parts costs that wait in a stream, besides its bytes. */
const partBytes = 256;

/** Of memory, for what was written and not taken: whole slabs and buffers, where a part of one waits. */
export function heldBytes(socket: Writable): number {
  const direct = socket as DirectSocket;
  const { writableLength } = direct;
  const held = direct.directHeldBytes ?? 0;
  if (writableLength === 0) {
    direct.lentBytes = 0;
    return held;
  }
  const parts = direct._writableState?.bufferedRequestCount ?? 0;
  // By TLS, in the clear and as it goes out.
  const forms = direct.encrypted === true ? 2 : 1;
  return held + forms * writableLength + (direct.lentBytes ?? 0) + parts * partBytes;
}

/** Has 'drain' come from so many bytes on that waited, in a stream for which Node has no option. */
export function tellFrom(stream: Writable, bytes: number): void {
  const state = (stream as DirectSocket)._writableState;
  if (state !== undefined) state.highWaterMark = bytes;
}

/** Whether 'drain' comes when what waits is taken: not where little waits in a stream. */
export function tellsWhenTaken(socket: Writable): boolean {
  return socket.writableNeedDrain || ((socket as DirectSocket).directBytes ?? 0) > 0;
}

const nothing = Buffer.alloc(0);

/**
 * Ends the socket where its peer has reset it, which one that is not read would not tell before its deadlines: a write of nothing
 * says so, and is nothing on the wire. A peer that has only ended its half is not seen by it.
 */
export function endIfReset(socket: Writable): void {
  const handle = tcpHandle(socket);
  if (handle === undefined || spare === undefined || unsentBytes(socket) > 0 || socket.writableEnded) return;
  const status = handle.writeBuffer(spare, nothing);
  if (status !== 0) writeFailed(socket, status);
}

function writeFailed(socket: Writable & Tolerant, status: number): void {
  const error = failure('write', status);
  if (socket.tolerates?.(error) !== true) socket.destroy(error);
}

function failure(syscall: string, errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall });
}
