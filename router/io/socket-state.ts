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

/** Writes a copy of `bytes`, and `lent` as it is, to the stream. The original bytes would keep a whole pool or slab while they wait. */
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

/** Copies bytes into memory that is not part of a pool. */
export function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

/** Bytes that were written and that the kernel has not taken. */
export function unsentBytes(socket: Writable): number {
  return socket.writableLength + ((socket as DirectSocket).directBytes ?? 0);
}

/** Memory that each buffered part of a stream costs besides its bytes. */
const partBytes = 256;

/** Memory held by bytes that the kernel has not taken: a slab or buffer counts as a whole if a part of it waits. */
export function heldBytes(socket: Writable): number {
  const direct = socket as DirectSocket;
  const { writableLength } = direct;
  const held = direct.directHeldBytes ?? 0;
  if (writableLength === 0) {
    direct.lentBytes = 0;
    return held;
  }
  const parts = direct._writableState?.bufferedRequestCount ?? 0;
  // TLS keeps both the cleartext and the ciphertext.
  const forms = direct.encrypted === true ? 2 : 1;
  return held + forms * writableLength + (direct.lentBytes ?? 0) + parts * partBytes;
}

/** Makes a stream, for which Node has no option, fire 'drain' if at least this many bytes have waited. */
export function setDrainThreshold(stream: Writable, bytes: number): void {
  const state = (stream as DirectSocket)._writableState;
  if (state !== undefined) state.highWaterMark = bytes;
}

/** Whether 'drain' will fire once the waiting bytes are taken. It will not if few bytes wait in a stream. */
export function willDrain(socket: Writable): boolean {
  return socket.writableNeedDrain || ((socket as DirectSocket).directBytes ?? 0) > 0;
}

export function failure(syscall: string, errno: number): NodeJS.ErrnoException {
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`${syscall} ${code}`), { errno, code, syscall });
}
