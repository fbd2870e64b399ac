/**
 * One TCP connection to a target: a socket with the buffer that it reads into, a count of the bytes that wait in it, and one
 * deadline. It belongs to a transport, and after a switch of protocols to a tunnel.
 *
 * A failed write need not end its reads: when an app answers before it has read a body (413, say) and closes, the next write
 * fails while the answer is still unread in the kernel. Node would discard that answer with the socket.
 */
import { Socket } from 'node:net';
import type { Clock } from '../../shared/wait/clock.ts';
import { Backlog, leastPartBytes, type Backlogs } from '../io/backlog.ts';
import type { Timed } from '../io/deadlines.ts';
import type { SocketIo } from '../io/socket-io.ts';
import { heldBytes, pauseReading, willDrain } from '../io/socket-state.ts';
import { smallBytes, type ReadBuffers } from '../io/read-buffers.ts';

type Done = (error?: Error | null) => void;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface UpstreamConnectionDeps {
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  readonly backlogs: Backlogs;
  readonly buffers: ReadBuffers;
  readonly sockets: SocketIo;
}

export interface ConnectionUser {
  upstreamConnected(): void;
  /**
   * @param bytes begins with the `count` bytes that were read; they may be overwritten when this returns.
   * @returns whether to read on at once.
   */
  upstreamBytes(bytes: Buffer, count: number): boolean;
  upstreamDrained(): void;
  upstreamEnded(): void;
  upstreamTimedOut(): void;
  /** @param cause what broke the connection, if anything did. */
  upstreamClosed(cause: Error | undefined): void;
}

export interface ConnectionOwner {
  closed(connection: UpstreamConnection): void;
}

/** A connection that reads this much at once gets a buffer of its own, so that its bytes need not be copied. */
const largeReadBytes = 32_768;

export class UpstreamConnection extends Socket implements Timed {
  user: ConnectionUser;
  /** When `upstreamTimedOut` is due, in ms of the clock; at first the deadline of the dial. */
  deadlineMs: number;
  /** Whether the connection was made. */
  isOpen = false;
  /** Set by the first request with a body. */
  outlivesWrites = false;
  /** Code of the first write that failed; nothing written later arrives. */
  writeFailure: string | undefined;
  readonly #owner: ConnectionOwner;
  readonly #deps: UpstreamConnectionDeps;
  readonly #backlog: Backlog;
  /** Shared with other connections, so that its bytes must be used at once, or this connection's own. */
  #buffer: Buffer;
  #error: Error | undefined;

  constructor({ host, port }: Address, owner: ConnectionOwner, user: ConnectionUser, deps: UpstreamConnectionDeps) {
    const options = {
      host,
      port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      autoSelectFamily: false,
      // With a higher mark, 'drain' would not report that a smaller part has been taken.
      highWaterMark: leastPartBytes,
    };
    super(options);
    this.#owner = owner;
    this.user = user;
    this.deadlineMs = deps.clock.nowMs() + deps.connectTimeoutMs;
    this.#deps = deps;
    this.#buffer = deps.buffers.small;
    this.#backlog = new Backlog(deps.backlogs, this);
    this.on('connect', () => this.#connected());
    this.on('drain', () => this.#drained());
    this.on('end', () => this.user.upstreamEnded());
    this.on('error', (error) => (this.#error ??= error));
    this.on('close', () => this.#closed());
    this.connect(options);
  }

  /** Whether the app has so much to take that the client has to wait. */
  isBehind(): boolean {
    return this.#backlog.update(heldBytes(this)) && willDrain(this);
  }

  /** Holds the bytes read last. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  /** Whether bytes in the buffer stay as they are until `giveBufferAway` or the next read. */
  get ownsBuffer(): boolean {
    return !this.#deps.buffers.isShared(this.#buffer);
  }

  /** Reads into another buffer from now on, because a pending write still uses this one. */
  giveBufferAway(): void {
    if (!this.#deps.backlogs.tight) {
      this.#buffer = this.#deps.buffers.another();
      return;
    }
    this.#deps.buffers.giveBack();
    this.#buffer = this.#deps.buffers.small;
  }

  checkDeadlines(nowMs: number): void {
    if (nowMs < this.deadlineMs) return;
    this.deadlineMs = Infinity;
    this.user.upstreamTimedOut();
  }

  // ---- Events of the socket

  #connected(): void {
    const reads = this.#deps.sockets.read(this, this.#buffer, (count) => {
      const before = this.#buffer;
      if (!this.#read(before, count)) pauseReading(this);
      return this.#buffer === before ? undefined : this.#buffer;
    });
    if (!reads) {
      this.on('data', (chunk: Buffer) => {
        if (!this.#read(chunk, chunk.length)) this.pause();
      });
    }
    this.deadlineMs = Infinity;
    this.isOpen = true;
    this.user.upstreamConnected();
  }

  #drained(): void {
    this.#backlog.update(heldBytes(this));
    this.user.upstreamDrained();
  }

  #closed(): void {
    if (this.ownsBuffer) this.#deps.buffers.giveBack();
    this.#buffer = this.#deps.buffers.shared;
    this.#backlog.close();
    this.#owner.closed(this);
    this.user.upstreamClosed(this.#error);
  }

  #read(bytes: Buffer, count: number): boolean {
    const more = this.user.upstreamBytes(bytes, count);
    if (!this.ownsBuffer) this.#fitBuffer(count);
    return more;
  }

  /** First reads are small: thousands of answers may begin at once, before it is known whether their clients keep up. */
  #fitBuffer(count: number): void {
    if (this.#deps.backlogs.tight) this.#buffer = this.#deps.buffers.small;
    else if (count >= largeReadBytes) this.#buffer = this.#deps.buffers.own() ?? this.#buffer;
    else if (count === smallBytes) this.#buffer = this.#deps.buffers.shared;
  }

  // ---- Writes

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
