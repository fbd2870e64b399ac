/** The listeners of a client's socket: one function each for all sockets, with the connection on the socket. */
import type { Socket } from 'node:net';

/** Who hears of the socket. */
export interface SocketOwner {
  data(chunk: Buffer): void;
  ended(): void;
  drained(): void;
  gone(errored: boolean): void;
}

interface OwnedSocket extends Socket {
  owner: SocketOwner;
}

export function listenTo(socket: Socket, owner: SocketOwner): void {
  (socket as OwnedSocket).owner = owner;
  socket.on('data', onData);
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
