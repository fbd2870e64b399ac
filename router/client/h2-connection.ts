/**
 * One connection of a client that speaks HTTP/2: each of its streams is a call. Frames, windows and header compression are Node's;
 * this bounds what a client may take of them. To drain, it announces its end first, so that what the client has sent by then is
 * served, and closes when its streams have ended.
 */
import { constants, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { PeerIdentity } from '../message/peer-identity.ts';
import type { ClientConnection, ConnectionDeps } from './connection-deps.ts';
import type { RawFields } from '../message/h2-heads.ts';
import type { Http2Capacity } from './h2-capacity.ts';
import { H2ClientSide, type StreamCarrier } from './h2-client-side.ts';

/** The end follows its announcement after this at most: by then, what the client had sent before it heard has come. */
const announceMs = 1_000;
/** A client that does not close a connection that is over is cut off after this. */
const lingerMs = 5_000;
/** The last stream of a first GOAWAY, which refuses nothing yet: RFC 9113 §6.8. */
const anyStream = 2 ** 31 - 1;

/** A client for which more frames wait than its streams have answers and acknowledgements takes none of them. */
const maxFramesWaiting = 512;
/** Cut off a client that has more calls refused between two looks at the deadlines: it does not accept the refusal. */
const maxRefused = 200;

/** `announced`: a first GOAWAY is sent · `ending`: no new stream; closes after the last one */
type Phase = 'open' | 'announced' | 'ending' | 'closed';

export class H2Connection implements ClientConnection, StreamCarrier {
  readonly socket: Socket;
  readonly isHttp2 = true;
  readonly client: PeerIdentity;
  readonly #deps: ConnectionDeps;
  readonly #capacity: Http2Capacity;
  readonly #session: ServerHttp2Session;
  /** Streams refused since the last look at the deadlines. */
  #refused = 0;
  readonly #streams = new Set<H2ClientSide>();
  #phase: Phase = 'open';
  /** When the last stream ended; meaningless while there are streams. */
  #idleSinceMs: number;
  /** When a connection without streams, or the current step of its end, must be over. */
  #deadlineMs: number;

  constructor(socket: Socket, server: Http2Server, capacity: Http2Capacity, deps: ConnectionDeps) {
    this.socket = socket;
    this.#capacity = capacity;
    capacity.connections += 1;
    this.#deps = deps;
    this.client = new PeerIdentity(socket, deps.trust, 'HTTP/2');
    this.#idleSinceMs = deps.routing.clock.nowMs();
    this.#deadlineMs = this.#idleSinceMs + Math.min(deps.limits.keepAliveMs, deps.limits.headTimeoutMs);
    this.#session = sessionOn(socket, server);
    this.#session.on('stream', (stream, _fields, _flags, raw) => this.#stream(stream, raw));
    // As on HTTP/1.1, a client that ends its half has left.
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
    if (!this.#capacity.hasStream) {
      this.#refuse(stream);
      return;
    }
    const side = new H2ClientSide(stream, this, this.#deps);
    // The client has reset it in the same bytes that opened it.
    if (stream.destroyed || stream.closed) return;
    this.#capacity.streams += 1;
    this.#streams.add(side);
    if (this.#phase === 'open') this.#deadlineMs = Infinity;
    side.begin(raw);
  }

  /** The client may send the request again, here or elsewhere: RFC 9113 §8.7. */
  #refuse(stream: ServerHttp2Stream): void {
    stream.on('error', () => undefined);
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
    this.#deps.onRefused(this.client, constants.HTTP_STATUS_SERVICE_UNAVAILABLE);
    this.#refused += 1;
    if (this.#refused > maxRefused) this.socket.destroy();
  }

  streamGone(side: H2ClientSide): void {
    if (!this.#streams.delete(side)) return;
    this.#capacity.streams -= 1;
    if (this.#streams.size > 0 || this.#phase !== 'open') return;
    const { routing, limits } = this.#deps;
    this.#idleSinceMs = routing.clock.nowMs();
    this.#deadlineMs = this.#idleSinceMs + limits.keepAliveMs;
  }

  drain(): void {
    if (this.#phase !== 'open') return;
    this.#phase = 'announced';
    this.#deadlineMs = this.#deps.routing.clock.nowMs() + announceMs;
    const session = this.#session;
    if (session.destroyed || session.closed) return;
    session.goaway(constants.NGHTTP2_NO_ERROR, anyStream);
    // The client's answer is behind all that it had sent before it knew.
    session.ping(() => this.#end());
  }

  isEvictable(idleSinceMs: number): boolean {
    const over = this.#phase === 'ending' && this.#session.destroyed;
    return (this.#phase === 'open' || over) && this.#streams.size === 0 && this.#idleSinceMs <= idleSinceMs;
  }

  /** Answers may still be on their way, and a client whose call crosses the end has to learn that nobody looked at it. */
  readonly lingers = true;

  evict(): void {
    if (this.#phase === 'ending') return;
    this.#phase = 'ending';
    this.#linger();
    if (!this.#session.destroyed) this.#session.close();
  }

  /** Takes no new stream; the session ends with the last one. */
  #end(): void {
    if (this.#phase !== 'announced') return;
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
    this.#capacity.connections -= 1;
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
    // The client has ended the session.
    if (this.#phase === 'open' && this.#session.destroyed) {
      this.#phase = 'ending';
      this.#linger();
    }
    if (nowMs < this.#deadlineMs) {
      // All streams are over, and Node waits for the client to close.
      if (this.#phase === 'ending' && this.#deadlineMs === Infinity && this.#session.destroyed) this.#linger();
      return;
    }
    this.#deadlineMs = Infinity;
    switch (this.#phase) {
      case 'open':
        this.drain();
        return;
      case 'announced':
        this.#end();
        return;
      case 'ending':
        this.socket.destroy();
        return;
      case 'closed':
    }
  }
}

/** Has Node make a session for a server; it emits the session before `emit` returns. */
function sessionOn(socket: Socket, server: Http2Server): ServerHttp2Session {
  const made: ServerHttp2Session[] = [];
  const keep = (session: ServerHttp2Session): void => void made.push(session);
  server.once('session', keep);
  server.emit('connection', socket);
  const [session] = made;
  if (session === undefined) throw new Error('node:http2 made no session');
  return session;
}
