/**
 * One HTTP/2 connection to a target, with prior knowledge. It counts as made when the first SETTINGS of the app have arrived:
 * then the number of streams is known, and an app that accepts and closes at once has been sent nothing. A connection that is
 * to close (GOAWAY, or its target is gone) gets no new stream.
 */
import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
} from 'node:http2';
import { connect } from 'node:net';
import type { Timed } from '../io/deadlines.ts';
import type { Address } from './connection.ts';
import type { TransportDeps } from './transport.ts';

/** Why a connection was not made. */
export type SessionFailure = 'refused' | 'timeout' | 'protocol';

export interface SessionUser {
  sessionOpen(): void;
  /** The connection did not become open. */
  sessionFailed(failure: SessionFailure, cause: Error | undefined): void;
}

/** Streams on one connection, unless the app allows fewer; further calls get another connection. */
const maxStreams = 100;
/** A connection without streams is kept for this long. An app that closes it earlier announces that by GOAWAY. */
const maxIdleMs = 30_000;
/** Memory of one connection in nghttp2 and Node, MiB. */
const maxMemoryMib = 64;
/** The window of a connection is that of this many streams. */
const windowsOfConnection = 16;
const leastWindowBytes = 16_384;
const fieldOverheadBytes = 32;

type State = 'dialling' | 'greeting' | 'open' | 'leaving' | 'closed';

export class UpstreamSession implements Timed {
  readonly #session: ClientHttp2Session;
  readonly #deps: TransportDeps;
  /** The `:authority` of a request without a host. */
  readonly authority: string;
  readonly #onClosed: (session: UpstreamSession) => void;
  readonly #waiting = new Set<SessionUser>();
  #state: State = 'dialling';
  #inUse = 0;
  #limit = maxStreams;
  #deadlineMs: number;
  #timedOut = false;
  #error: (Error & { readonly code?: string }) | undefined;
  /** The app does not process streams above this one. */
  #lastStreamId = Infinity;
  /** No stream is added any more, even when the connection becomes open. */
  #closing = false;

  constructor({ host, port }: Address, deps: TransportDeps, onClosed: (session: UpstreamSession) => void) {
    this.authority = `${host}:${port}`;
    this.#deps = deps;
    this.#onClosed = onClosed;
    this.#deadlineMs = deps.clock.nowMs() + deps.connectTimeoutMs;
    const windowBytes = Math.max(leastWindowBytes, deps.streamBytes);
    const sessionOptions: ClientSessionOptions & { readonly strictSingleValueFields: boolean } = {
      createConnection: () => connect({ host, port, noDelay: true, keepAlive: true, autoSelectFamily: false }),
      settings: {
        enablePush: false,
        initialWindowSize: windowBytes,
        maxHeaderListSize: deps.maxHeaderBytes + fieldOverheadBytes * deps.maxFields,
      },
      maxHeaderListPairs: deps.maxFields + 1,
      // Heads of clients are bounded already; this leaves room for the fields that the router adds.
      maxSendHeaderBlockLength: 2 * deps.maxHeaderBytes + 65_536,
      maxSessionMemory: maxMemoryMib,
      strictSingleValueFields: false,
    };
    this.#session = connectHttp2('http://target', sessionOptions);
    this.#session.once('connect', () => {
      this.#session.setLocalWindowSize(windowsOfConnection * windowBytes);
      if (this.#state !== 'dialling') return;
      this.#state = 'greeting';
      this.#deadlineMs = deps.clock.nowMs() + deps.settingsTimeoutMs;
    });
    this.#session.on('remoteSettings', ({ maxConcurrentStreams }) => this.#settled(maxConcurrentStreams ?? Infinity));
    this.#session.on('goaway', (_code, lastStreamId) => this.#goaway(lastStreamId));
    this.#session.on('error', (error: Error) => (this.#error ??= error));
    this.#session.once('close', () => this.#closed());
    deps.deadlines.add(this);
  }

  get isOpen(): boolean {
    return this.#state === 'open' && !this.#session.closed && !this.#session.destroyed;
  }

  get inUse(): number {
    return this.#inUse;
  }

  /** Whether one more call may use it, now or when it is open. */
  get hasRoom(): boolean {
    if (this.#closing || this.#state === 'leaving' || this.#state === 'closed') return false;
    return !this.#session.closed && !this.#session.destroyed && this.#inUse < this.#limit;
  }

  take(user: SessionUser): void {
    this.#inUse += 1;
    if (this.#state !== 'open') this.#waiting.add(user);
    this.#deadlineMs = this.#state === 'open' ? Infinity : this.#deadlineMs;
  }

  /** The call is over, or no longer needs the connection. */
  release(user: SessionUser): void {
    this.#waiting.delete(user);
    this.#inUse -= 1;
    if (this.#inUse > 0) return;
    if (this.#closing || this.#state === 'leaving') this.#leave();
    else if (this.#state === 'open') this.#deadlineMs = this.#deps.clock.nowMs() + maxIdleMs;
  }

  request(
    fields: string[],
    options: { readonly endStream: boolean; readonly waitForTrailers: boolean },
  ): ClientHttp2Stream {
    return this.#session.request(fields, options);
  }

  /** Whether the app has said, by GOAWAY, that it did not process the stream. */
  isUnprocessed(stream: ClientHttp2Stream): boolean {
    return stream.id === undefined || stream.id > this.#lastStreamId;
  }

  /** Whether the connection broke because the app does not speak valid HTTP/2. */
  get isBroken(): boolean {
    return this.#error?.code === 'ERR_HTTP2_ERROR';
  }

  /** Takes no new stream; the present ones end in their time. */
  close(): void {
    this.#closing = true;
    if (this.#inUse === 0 || this.#state === 'open') this.#leave();
  }

  checkDeadlines(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return;
    this.#deadlineMs = Infinity;
    if (this.#state === 'dialling' || this.#state === 'greeting') {
      this.#timedOut = true;
      this.#session.destroy();
    } else this.#leave();
  }

  #settled(limit: number): void {
    this.#limit = Math.min(maxStreams, limit);
    if (this.#state !== 'dialling' && this.#state !== 'greeting') return;
    this.#state = 'open';
    this.#deadlineMs = this.#inUse > 0 ? Infinity : this.#deps.clock.nowMs() + maxIdleMs;
    const users = [...this.#waiting];
    this.#waiting.clear();
    for (const user of users) user.sessionOpen();
    if (this.#closing) this.#leave();
  }

  #goaway(lastStreamId: number): void {
    this.#lastStreamId = lastStreamId;
    if (this.#state === 'open') this.#state = 'leaving';
  }

  #leave(): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'open') this.#state = 'leaving';
    // Destroyed when it has no streams: a graceful close would wait for the app to close, too.
    if (this.#state === 'leaving' && this.#inUse > 0) this.#session.close();
    else this.#session.destroy();
  }

  #closed(): void {
    this.#state = 'closed';
    this.#deps.deadlines.delete(this);
    this.#onClosed(this);
    const failure = this.#timedOut ? 'timeout' : this.isBroken ? 'protocol' : 'refused';
    const users = [...this.#waiting];
    this.#waiting.clear();
    for (const user of users) user.sessionFailed(failure, this.#error);
  }
}
