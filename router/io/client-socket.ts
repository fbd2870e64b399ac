/** What a client's socket tells its connection: by one function each for all sockets, with the connection on the socket. */
import type { Socket } from 'node:net';
import { readDirectly, stopReadingDirectly } from './direct-io.ts';

/** Who hears of the socket. */
export interface SocketOwner {
  /** @param chunk what was read; read over as soon as this returns. */
  data(chunk: Buffer): void;
  ended(): void;
  drained(): void;
  gone(errored: boolean): void;
}

interface OwnedSocket extends Socket {
  owner: SocketOwner;
  /** Of a socket of TLS: the one that it is spoken over. */
  under?: Socket;
}

/** `socket` speaks TLS over `under`. */
export function lieUnder(socket: Socket, under: Socket): void {
  (socket as OwnedSocket).under = under;
}

/** A socket, or a stream of HTTP/2. */
export interface Resettable {
  destroy(): unknown;
  resetAndDestroy?(): unknown;
}

/** Closes it so that its peer cannot take that for an end. */
export function resetSocket(socket: Resettable): void {
  // A socket of TLS cannot be reset, and its plain end is taken for one by many clients.
  const reset: Resettable = (socket as Partial<OwnedSocket>).under ?? socket;
  if (reset.resetAndDestroy === undefined) reset.destroy();
  else reset.resetAndDestroy();
}

/** For all sockets: what is in it is taken before the next one reads. */
const readBuffer = Buffer.allocUnsafeSlow(65_536);
/** Most reads are short, and of few lengths. */
const maxViewBytes = 4_096;
const views: (Buffer | undefined)[] = [];

function viewOf(count: number): Buffer {
  if (count > maxViewBytes) return readBuffer.subarray(0, count);
  return (views[count] ??= readBuffer.subarray(0, count));
}

export function listenTo(socket: Socket, owner: SocketOwner): void {
  (socket as OwnedSocket).owner = owner;
  const reads = readDirectly(socket, readBuffer, (count) => {
    owner.data(viewOf(count));
    return undefined;
  });
  if (!reads) socket.on('data', onData);
  socket.on('end', onEnd);
  socket.on('drain', onDrain);
  socket.on('error', onError);
  socket.on('close', onClose);
}

function onData(this: Socket, chunk: Buffer): void {
  (this as OwnedSocket).owner.data(chunk);
}

function onEnd(this: Socket): void {
  (this as OwnedSocket).owner.ended();
}

function onDrain(this: Socket): void {
  (this as OwnedSocket).owner.drained();
}

function onError(): void {
  // 'close' follows and is what counts.
}

function onClose(this: Socket, hadError: boolean): void {
  (this as OwnedSocket).owner.gone(hadError);
}

/** Somebody else goes on with the socket, as a stream. */
export function backToStream(socket: Socket): void {
  stopReadingDirectly(socket, readBuffer);
  socket.off('data', onData);
  socket.off('end', onEnd);
  socket.off('drain', onDrain);
  socket.off('error', onError);
  socket.off('close', onClose);
}
