/** Sockets of clients and what they report to their connections. The listeners are shared by all sockets; the owner is a property of the socket. */
import type { Socket } from 'node:net';
import type { SocketIo } from './socket-io.ts';

export interface SocketOwner {
  /** @param chunk is overwritten as soon as this returns. */
  data(chunk: Buffer): void;
  ended(): void;
  drained(): void;
  gone(errored: boolean): void;
}

interface OwnedSocket extends Socket {
  owner: SocketOwner;
  /** The TCP socket under a TLS socket. */
  under?: Socket;
}

/** Notes that `socket` speaks TLS over `under`. */
export function lieUnder(socket: Socket, under: Socket): void {
  (socket as OwnedSocket).under = under;
}

/** A socket, or an HTTP/2 stream. */
export interface Resettable {
  destroy(): unknown;
  resetAndDestroy?(): unknown;
}

/** Closes a socket or stream so that its peer cannot take that for a proper end. */
export function resetSocket(socket: Resettable): void {
  // A TLS socket cannot be reset itself, and many clients take its plain end for a proper one.
  const reset: Resettable = (socket as Partial<OwnedSocket>).under ?? socket;
  if (reset.resetAndDestroy === undefined) reset.destroy();
  else reset.resetAndDestroy();
}

/** Most reads are short, and of few lengths. */
const maxViewBytes = 4_096;

export class ClientSockets {
  readonly #io: SocketIo;
  /** Shared by all sockets: its bytes are used before the next socket reads. */
  readonly #buffer = Buffer.allocUnsafeSlow(65_536);
  readonly #views: (Buffer | undefined)[] = [];

  constructor(io: SocketIo) {
    this.#io = io;
  }

  listen(socket: Socket, owner: SocketOwner): void {
    (socket as OwnedSocket).owner = owner;
    const reads = this.#io.read(socket, this.#buffer, (count) => {
      owner.data(this.#view(count));
      return undefined;
    });
    if (!reads) socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('drain', onDrain);
    socket.on('error', onError);
    socket.on('close', onClose);
  }

  /** Stops reporting, so that the socket can be used as a stream. */
  backToStream(socket: Socket): void {
    this.#io.returnToStream(socket, this.#buffer);
    socket.off('data', onData);
    socket.off('end', onEnd);
    socket.off('drain', onDrain);
    socket.off('error', onError);
    socket.off('close', onClose);
  }

  endIfReset(socket: Socket): void {
    this.#io.endIfReset(socket);
  }

  #view(count: number): Buffer {
    if (count > maxViewBytes) return this.#buffer.subarray(0, count);
    return (this.#views[count] ??= this.#buffer.subarray(0, count));
  }
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
