/**
 * One connection of a client that speaks HTTP/2: each of its streams is a call. Frames, windows and the tables of header
 * compression are node's; what may be taken of all of them is bounded here. At the end of the router it is told so first, so
 * that what the client has sent meanwhile is served, and closed when its streams have ended.
 */
import { constants, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { PeerIdentity } from '../message/peer-identity.ts';
import type { ClientConnection, ConnectionDeps } from './connection-deps.ts';
import type { RawFields } from '../message/h2-heads.ts';
import type { Http2Capacity } from './h2-capacity.ts';
import { H2ClientSide, type StreamCarrier } from './h2-client-side.ts';

/** Time between the word that an end is near and the end: what the client had sent by then has come. */
const noticeMs = 1_000;
/** A client that does not close a connection that is over has so long. */
const lingerMs = 5_000;
/** RFC 9113 §6.8: of a first GOAWAY, which refuses nothing yet. */
const anyStream = 2 ** 31 - 1;

/** A client for which more frames wait than answers and acknowledgements of its streams takes none of them. */
const maxFramesWaiting = 512;
/** Calls between two looks at the deadlines that there was no room for: it does not take a no. */
const maxRefused = 200;

type Phase = 'open' | 'noticed' | 'ending' | 'closed';

export class H2Connection implements ClientConnection, StreamCarrier {
  readonly socket: Socket;
  readonly isHttp2 = true;
  readonly client: PeerIdentity;
  readonly #deps: ConnectionDeps;
  readonly #capacity: Http2Capacity;
  #refused = 0;
  readonly #session: ServerHttp2Session;
  readonly #streams = new Set<H2ClientSide>();
  #phase: Phase = 'open';
  /** Since it has had no stream, where it has none. */
  #idleSinceMs: number;
  /** Of a connection without streams, or of the step of its end. */
  #deadlineMs: number;

  constructor(socket: Socket, server: Http2Server, capacity: Http2Capacity, deps: ConnectionDeps) {
    this.socket = socket;
    this.#capacity = capacity;
    capacity.addConnection();
    this.#deps = deps;
    this.client = new PeerIdentity(socket, deps.trusted, 'HTTP/2');
    this.#idleSinceMs = deps.routing.clock.nowMs();
    this.#deadlineMs = this.#idleSinceMs + Math.min(deps.limits.keepAliveMs, deps.limits.headTimeoutMs);
    this.#session = sessionOn(socket, server);
    this.#session.on('stream', (stream, _fields, _flags, raw) => this.#stream(stream, raw));
    // As by HTTP/1.1: a client that ends its half has left.
    socket.once('end', () => socket.destroy());
    socket.once('close', () => this.#closed());
    deps.deadlines.add(this);
  }

  get bufferedBytes(): number {
    let bytes = this.socket.writableLength;
    for (const { answer } of this.#streams) bytes += answer.waitingBytes;
    return bytes;
  }

  #stream(stream: ServerHttp2Stream, raw: RawFields): void {
    if (!this.#capacity.addStream()) {
      this.#refuse(stream);
      return;
    }
    const side = new H2ClientSide(stream, this, this.#deps);
    // Reset with the bytes that opened it.
    if (stream.destroyed || stream.closed) {
      this.#capacity.removeStream();
      return;
    }
    this.#streams.add(side);
    if (this.#phase === 'open') this.#deadlineMs = Infinity;
    side.begin(raw);
  }

  /** RFC 9113 §8.7: it may be sent again, here or elsewhere. */
  #refuse(stream: ServerHttp2Stream): void {
    stream.on('error', () => undefined);
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
    this.#deps.onRefused(this.client, constants.HTTP_STATUS_SERVICE_UNAVAILABLE);
    this.#refused += 1;
    if (this.#refused > maxRefused) this.socket.destroy();
  }

  streamGone(side: H2ClientSide): void {
    if (!this.#streams.delete(side)) return;
    this.#capacity.removeStream();
    if (this.#streams.size > 0 || this.#phase !== 'open') return;
    const { routing, limits } = this.#deps;
    this.#idleSinceMs = routing.clock.nowMs();
    this.#deadlineMs = this.#idleSinceMs + limits.keepAliveMs;
  }

  drain(): void {
    if (this.#phase !== 'open') return;
    this.#phase = 'noticed';
    this.#deadlineMs = this.#deps.routing.clock.nowMs() + noticeMs;
    const session = this.#session;
    if (session.destroyed || session.closed) return;
    session.goaway(constants.NGHTTP2_NO_ERROR, anyStream);
    // Its answer comes behind all that the client had sent before it knew.
    session.ping(() => this.#end());
  }

  isEvictable(idleSinceMs: number): boolean {
    const over = this.#phase === 'ending' && this.#session.destroyed;
    return (this.#phase === 'open' || over) && this.#streams.size === 0 && this.#idleSinceMs <= idleSinceMs;
  }

  /** Its answers may still be on their way; and a client whose call crosses the end is told that it was not looked at. */
  readonly lingers = true;

  evict(): void {
    if (this.#phase === 'ending') return;
    this.#phase = 'ending';
    this.#linger();
    if (!this.#session.destroyed) this.#session.close();
  }

  /** No further stream; the session ends with the last one. */
  #end(): void {
    if (this.#phase !== 'noticed') return;
    this.#phase = 'ending';
    this.#deadlineMs = Infinity;
    if (!this.#session.destroyed) this.#session.close(() => this.#linger());
    else this.#linger();
  }

  #linger(): void {
    this.#deadlineMs = this.#deps.routing.clock.nowMs() + lingerMs;
  }

  #closed(): void {
    this.#phase = 'closed';
    this.#capacity.removeConnection();
    this.#deps.deadlines.delete(this);
    this.#deps.onClosed(this);
  }

  checkDeadlines(nowMs: number): void {
    for (const side of this.#streams) side.checkDeadlines(nowMs);
    this.#refused = 0;
    if (!this.#session.destroyed && (this.#session.state.outboundQueueSize ?? 0) > maxFramesWaiting) {
      this.socket.destroy();
      return;
    }
    // The client has said goodbye.
    if (this.#phase === 'open' && this.#session.destroyed) {
      this.#phase = 'ending';
      this.#linger();
    }
    if (nowMs < this.#deadlineMs) {
      // Its streams are over; node waits for the client to close.
      if (this.#phase === 'ending' && this.#deadlineMs === Infinity && this.#session.destroyed) this.#linger();
      return;
    }
    this.#deadlineMs = Infinity;
    switch (this.#phase) {
      case 'open':
        this.drain();
        return;
      case 'noticed':
        this.#end();
        return;
      case 'ending':
        this.socket.destroy();
        return;
      case 'closed':
    }
  }
}

/** Node makes one for a server; it tells of it before `emit` returns. */
function sessionOn(socket: Socket, server: Http2Server): ServerHttp2Session {
  const made: ServerHttp2Session[] = [];
  const keep = (session: ServerHttp2Session): void => void made.push(session);
  server.once('session', keep);
  server.emit('connection', socket);
  const [session] = made;
  if (session === undefined) throw new Error('no session of HTTP/2 was made');
  return session;
}
