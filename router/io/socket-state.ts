/** What waits in a socket, what that costs, and how to pause it, whether SocketIo or its stream reads and writes. */
import type { Socket } from 'node:net';
import type { Duplex, Writable } from 'node:stream';
import { getSystemErrorName } from 'node:util';
import { handleOf } from './stream-binding.ts';

/** A socket as SocketIo marks it. */
export interface DirectSocket extends Socket {
  /** Bytes of a write that the kernel has not taken at once, and of the memory that it keeps. */
  directBytes?: number;
  directHeldBytes?: number;
  /** Memory around the bytes that were lent to the stream. */
  lentBytes?: number;
  /** The socket speaks TLS. */
  readonly encrypted?: boolean;
  readonly _writableState?: { readonly bufferedRequestCount?: number; highWaterMark: number };
}

export function pauseReading(socket: Duplex): void {
  const handle = handleOf(socket);
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
  const handle = handleOf(socket);
  if (handle?.reader === undefined) {
    socket.resume();
    return;
  }
  if (handle.reading) return;
  handle.reading = true;
  const status = handle.readStart();
  if (status !== 0) socket.destroy(failure('read', status));
}

/** Of the bytes a copy, in bytes of their own: a pool, or what others write into, would be kept whole for as long as they wait. */
export function writeToStream(socket: Writable, bytes: Buffer | undefined, lent: Buffer | undefined): void {
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
export function setDrainThreshold(stream: Writable, bytes: number): void {
  const state = (stream as DirectSocket)._writableState;
  if (state !== undefined) state.highWaterMark = bytes;
}

/** Whether 'drain' comes when what waits is taken: not where little waits in a stream. */
export function willDrain(socket: Writable): boolean {
  return socket.writableNeedDrain || ((socket as DirectSocket).directBytes ?? 0) > 0;
}

export function failure(syscall: string, errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall });
}
