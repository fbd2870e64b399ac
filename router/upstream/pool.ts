/**
 * Connections to one target: dialled, used by one call at a time, kept idle for the next.
 *
 * A pooled socket may be closed by the app at the moment a request is written to it, and then nobody knows whether the
 * request was worked on. So a request that must not be sent twice gets a socket that was used within the last second: no
 * server's idle timeout is that short, and when a pod is killed its FIN has long been read. Requests that may be sent twice
 * take any socket younger than the common five seconds of app servers, and are sent once more on a new connection where that
 * fails. The one used last is taken first, so that those not needed grow old. An idle socket that says anything is destroyed.
 *
 * An app that says more than its answer may say it when the next call has the socket already, and nobody could tell it from
 * that call's answer. So a target that has been heard out of turn gets no second call by any socket for a while.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../../shared/wait/clock.ts';
import type { BodyReader } from '../message/body-reader.ts';
import type { Deadlines, Timed } from '../io/deadlines.ts';
import { Backlog, leastPartBytes, type Backlogs } from '../io/backlog.ts';
import { heldBytes, pauseReading, readDirectly, tellsWhenTaken } from '../io/direct-io.ts';
import { smallBytes, type ReadBuffers } from '../io/read-buffers.ts';
import { UpstreamSocket } from './upstream-socket.ts';

export interface UpstreamOptions {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly connectTimeoutMs: number;
  /** Idle ones to one target. */
  readonly maxIdle: number;
  readonly backlogs: Backlogs;
  readonly buffers: ReadBuffers;
}

/** Who has the connection. */
export interface UpstreamUser {
  upstreamConnected(): void;
  /** @returns whether to read on at once. */
  upstreamBytes(bytes: Buffer, count: number): boolean;
  upstreamDrained(): void;
  upstreamEnded(): void;
  upstreamTimedOut(): void;
  /** It is gone, whatever was before; `error` where it broke. */
  upstreamClosed(error: Error | undefined): void;
}

/** A connection that reads so much at once gets a buffer of its own, so that this need not be copied. */
const largeReadBytes = 32_768;
/** Sockets are not used again for so long after a target has said more than it was asked. */
const distrustMs = 60_000;
/** An idle socket is closed at this age. */
export const maxIdleMs = 4_000;

export class UpstreamConnection implements Timed {
  readonly socket: UpstreamSocket;
  /** undefined: idle, or on its way out. */
  user: UpstreamUser | undefined;
  /** Of its answers, one after the other. */
  body: BodyReader | undefined;
  idleSinceMs = 0;
  /** From which on its idleness has to end, by what the app has said. */
  deadlineMs: number;
  readonly #pool: UpstreamPool;
  readonly #backlogs: Backlogs;
  readonly #backlog: Backlog;
  readonly #buffers: ReadBuffers;
  /** Where it reads to: shared with others, and then what is there has to be taken at once; or its own. */
  #buffer: Buffer;
  #error: Error | undefined;

  constructor(
    address: { readonly host: string; readonly port: number },
    pool: UpstreamPool,
    user: UpstreamUser,
    options: UpstreamOptions,
  ) {
    this.#pool = pool;
    this.user = user;
    this.deadlineMs = options.clock.nowMs() + options.connectTimeoutMs;
    this.#buffers = options.buffers;
    this.#buffer = this.#buffers.small;
    const connecting = {
      host: address.host,
      port: address.port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      autoSelectFamily: false,
      // No more: else nobody would be told that what waits has been taken.
      highWaterMark: leastPartBytes,
    };
    this.socket = new UpstreamSocket(connecting);
    this.#backlogs = options.backlogs;
    this.#backlog = new Backlog(options.backlogs, this.socket);
    (this.socket as Owned).upstream = this;
    this.socket.connect(connecting);
    this.socket.on('connect', onConnect);
    this.socket.on('drain', onDrain);
    this.socket.on('end', onEnd);
    this.socket.on('error', onError);
    this.socket.on('close', onClose);
  }

  /** Whether the app has so much to take that the client has to wait. */
  behind(): boolean {
    return this.#backlog.note(heldBytes(this.socket)) && tellsWhenTaken(this.socket);
  }

  /** What it has read last is in here. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  /** Whether bytes that it has read stay as they are until `giveBufferAway` or the next read. */
  get ownsBuffer(): boolean {
    return !this.#buffers.isShared(this.#buffer);
  }

  /** A write still has to take from it: the next read goes elsewhere. */
  giveBufferAway(): void {
    if (!this.#backlogs.tight) {
      this.#buffer = this.#buffers.another();
      return;
    }
    this.#buffers.giveBack();
    this.#buffer = this.#buffers.small;
  }

  connected(): void {
    const reads = readDirectly(this.socket, this.#buffer, (count) => {
      const before = this.#buffer;
      if (!this.#bytes(before, count)) pauseReading(this.socket);
      return this.#buffer === before ? undefined : this.#buffer;
    });
    if (!reads) this.socket.on('data', onData);
    this.deadlineMs = Infinity;
    if (this.user === undefined) this.socket.destroy();
    else this.user.upstreamConnected();
  }

  drained(): void {
    this.#backlog.note(heldBytes(this.socket));
    this.user?.upstreamDrained();
  }

  ended(): void {
    if (this.user === undefined) this.socket.destroy();
    else this.user.upstreamEnded();
  }

  failed(error: Error): void {
    this.#error ??= error;
  }

  closed(): void {
    if (this.ownsBuffer) this.#buffers.giveBack();
    this.#buffer = this.#buffers.shared;
    this.#backlog.close();
    this.#pool.closed(this);
    const { user } = this;
    this.user = undefined;
    user?.upstreamClosed(this.#error);
  }

  /**
   * Its user is done with it: it waits for the next one in the pool that it came from, which its target may have left behind.
   * @param keepMs how long the app keeps it.
   */
  release(keepMs: number): void {
    this.#pool.release(this, keepMs);
  }

  /** Its user is done with it, or has no more use for it. */
  destroy(): void {
    this.user = undefined;
    this.socket.destroy();
  }

  /** It has said what nobody has asked for. */
  spokeOutOfTurn(): void {
    this.socket.destroy();
    this.#pool.distrust();
  }

  checkDeadlines(nowMs: number): void {
    if (nowMs < this.deadlineMs) return;
    this.deadlineMs = Infinity;
    if (this.user === undefined) this.socket.destroy();
    else this.user.upstreamTimedOut();
  }

  /** A first read is a small one: thousands of answers may begin at once, before anybody knows whether they are taken. */
  #fit(count: number): void {
    if (this.#backlogs.tight) this.#buffer = this.#buffers.small;
    else if (count === smallBytes) this.#buffer = this.#buffers.shared;
  }

  data(chunk: Buffer): void {
    if (!this.#bytes(chunk, chunk.length)) this.socket.pause();
  }

  #bytes(bytes: Buffer, count: number): boolean {
    const { user } = this;
    if (user !== undefined) {
      const more = user.upstreamBytes(bytes, count);
      if (count >= largeReadBytes && !this.ownsBuffer && !this.#backlogs.tight)
        this.#buffer = this.#buffers.own() ?? this.#buffer;
      else if (!this.ownsBuffer) this.#fit(count);
      return more;
    }
    // What comes next by this socket would be in doubt.
    this.spokeOutOfTurn();
    return true;
  }
}

export class UpstreamPool {
  readonly #address: { readonly host: string; readonly port: number };
  readonly #options: UpstreamOptions;
  readonly #idle: UpstreamConnection[] = [];
  #open = 0;
  #closed = false;
  #distrustedUntilMs = 0;

  constructor(address: { readonly host: string; readonly port: number }, options: UpstreamOptions) {
    this.#address = address;
    this.#options = options;
  }

  /** Sockets, dialling ones among them. */
  get open(): number {
    return this.#open;
  }

  get idle(): number {
    return this.#idle.length;
  }

  /** An idle connection that was used within the last `withinMs`. */
  take(withinMs: number, user: UpstreamUser): UpstreamConnection | undefined {
    const connection = this.#idle.at(-1);
    if (connection === undefined) return undefined;
    // The others are older still.
    if (this.#options.clock.nowMs() - connection.idleSinceMs > withinMs) return undefined;
    this.#idle.pop();
    connection.deadlineMs = Infinity;
    connection.user = user;
    return connection;
  }

  dial(user: UpstreamUser): UpstreamConnection {
    const connection = new UpstreamConnection(this.#address, this, user, this.#options);
    this.#open += 1;
    this.#options.deadlines.add(connection);
    return connection;
  }

  /** @param keepMs how long the app keeps it. */
  release(connection: UpstreamConnection, keepMs: number): void {
    connection.user = undefined;
    const nowMs = this.#options.clock.nowMs();
    const unwanted = this.#closed || this.#idle.length >= this.#options.maxIdle || nowMs < this.#distrustedUntilMs;
    if (unwanted || keepMs <= 0 || connection.socket.destroyed || connection.socket.writeFailure !== undefined) {
      connection.socket.destroy();
      return;
    }
    connection.idleSinceMs = nowMs;
    connection.deadlineMs = connection.idleSinceMs + Math.min(maxIdleMs, keepMs);
    this.#idle.push(connection);
  }

  closed(connection: UpstreamConnection): void {
    this.#open -= 1;
    this.#options.deadlines.delete(connection);
    const index = this.#idle.lastIndexOf(connection);
    if (index >= 0) this.#idle.splice(index, 1);
  }

  /** No socket is used again for a while. */
  distrust(): void {
    this.#distrustedUntilMs = this.#options.clock.nowMs() + distrustMs;
    this.#closeIdle();
  }

  /** Idle sockets are closed now, the others after their call. */
  close(): void {
    this.#closed = true;
    this.#closeIdle();
  }

  #closeIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.socket.destroy();
  }
}

interface Owned extends UpstreamSocket {
  upstream: UpstreamConnection;
}

// One function each for all sockets, with the state on the socket.

function onConnect(this: Socket): void {
  (this as unknown as Owned).upstream.connected();
}

function onData(this: Socket, chunk: Buffer): void {
  (this as unknown as Owned).upstream.data(chunk);
}

function onDrain(this: Socket): void {
  (this as unknown as Owned).upstream.drained();
}

function onEnd(this: Socket): void {
  (this as unknown as Owned).upstream.ended();
}

function onError(this: Socket, error: Error): void {
  (this as unknown as Owned).upstream.failed(error);
}

function onClose(this: Socket): void {
  (this as unknown as Owned).upstream.closed();
}
