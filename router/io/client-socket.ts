/** What a client's socket tells its connection: by one function each for all sockets, with the connection on the socket. */
import type { Socket } from 'node:net';
import type { SocketIo } from './socket-io.ts';

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

/** Most reads are short, and of few lengths. */
const maxViewBytes = 4_096;

export class ClientSockets {
  readonly #io: SocketIo;
  /** For all sockets: what is in it is taken before the next one reads. */
  readonly #buffer = Buffer.allocUnsafeSlow(65_536);
  readonly #views: (Buffer | undefined)[] = [];

  constructor(io: SocketIo) {
    this.#io = io;
  }

  /** From now on `owner` hears of the socket. */
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

  /** Hands the socket over to somebody who uses it as a stream. */
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
