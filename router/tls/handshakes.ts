/**
 * New connections of TLS until they are secure. A handshake costs a thousand times what a call costs, and whoever connects can
 * have one begun: so a connection that has said nothing is not begun with, few are begun in one turn of the event loop, and the
 * number under way is bounded. Over the bound the oldest makes room, when it has had its time: an honest client needs two trips.
 */
import type { Socket } from 'node:net';
import { TLSSocket, type SecureContext, type TLSSocketOptions } from 'node:tls';
import type { Clock } from '../../shared/clock.ts';
import { lieUnder } from '../client-socket.ts';
import type { Deadlines, Timed } from '../deadlines.ts';

export interface HandshakesDeps {
  readonly certificates: { readonly first: SecureContext; choose(host: string): SecureContext };
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** Protocols offered, the preferred one first. */
  readonly alpn: readonly string[];
  readonly timeoutMs: number;
  /** Under way at once. */
  readonly max: number;
  /** Of the streams, both ways. */
  readonly highWaterMark: number;
  readonly onSecure: (socket: TLSSocket) => void;
  /** It is not here any more, whatever has become of it. */
  readonly onEnded: (result: HandshakeResult) => void;
}

/** `left`: by the client, before it said anything or in between · `crowded`: it made room for a newer one. */
export type HandshakeResult = 'ok' | 'failed' | 'timeout' | 'left' | 'crowded';

/** With the common keys two milliseconds of work. */
const perTurn = 4;
/** What each may have before it has to make room. */
const patienceMs = 2_000;

type Stage = 'silent' | 'waiting' | 'begun' | 'ended';

export class Handshakes {
  readonly deps: HandshakesDeps;
  readonly #all = new Set<Handshake>();
  readonly #waiting = new Set<Handshake>();
  readonly #begun = new Set<Handshake>();
  #turn: NodeJS.Immediate | undefined;

  constructor(deps: HandshakesDeps) {
    this.deps = deps;
  }

  /** Connections that are not secure yet. */
  get size(): number {
    return this.#all.size;
  }

  /** Handshakes under way. */
  get begun(): number {
    return this.#begun.size;
  }

  take(socket: Socket): void {
    this.#all.add(new Handshake(socket, this));
  }

  /** The end of the router: those that are here have so long to become secure. */
  finish(withinMs: number): void {
    const deadlineMs = this.deps.clock.nowMs() + withinMs;
    for (const handshake of this.#all) handshake.deadlineMs = Math.min(handshake.deadlineMs, deadlineMs);
  }

  close(): void {
    clearImmediate(this.#turn);
    for (const handshake of this.#all) handshake.end('left');
  }

  // ---- What a handshake tells

  waits(handshake: Handshake): void {
    this.#waiting.add(handshake);
    this.schedule();
  }

  ended(handshake: Handshake, result: HandshakeResult): void {
    this.#all.delete(handshake);
    this.#waiting.delete(handshake);
    if (this.#begun.delete(handshake)) this.schedule();
    this.deps.onEnded(result);
  }

  schedule(): void {
    if (this.#waiting.size > 0) this.#turn ??= setImmediate(this.#begin);
  }

  readonly #begin = (): void => {
    this.#turn = undefined;
    let count = 0;
    for (const handshake of this.#waiting) {
      if (count === perTurn) return this.schedule();
      if (this.#begun.size >= this.deps.max && !this.#makeRoom()) return;
      this.#waiting.delete(handshake);
      this.#begun.add(handshake);
      handshake.begin();
      count += 1;
    }
  };

  #makeRoom(): boolean {
    for (const oldest of this.#begun) {
      if (this.deps.clock.nowMs() - oldest.begunMs < patienceMs) return false;
      oldest.end('crowded');
      return true;
    }
    return false;
  }
}

class Handshake implements Timed {
  readonly #socket: Socket;
  readonly #handshakes: Handshakes;
  #stage: Stage = 'silent';
  deadlineMs: number;
  begunMs = 0;

  constructor(socket: Socket, handshakes: Handshakes) {
    const { clock, deadlines, timeoutMs } = handshakes.deps;
    this.#socket = socket;
    this.#handshakes = handshakes;
    this.deadlineMs = clock.nowMs() + timeoutMs;
    deadlines.add(this);
    socket.on('error', this.#failed);
    socket.on('close', this.#closed);
    socket.once('readable', this.#heard);
  }

  checkDeadlines(nowMs: number): void {
    if (nowMs >= this.deadlineMs) this.end('timeout');
    else if (this.#stage === 'waiting') this.#handshakes.schedule();
  }

  begin(): void {
    const { certificates, alpn, highWaterMark, clock, onSecure } = this.#handshakes.deps;
    this.#stage = 'begun';
    this.begunMs = clock.nowMs();
    const options: TLSSocketOptions & { readonly highWaterMark: number } = {
      isServer: true,
      secureContext: certificates.first,
      SNICallback: (host, done) => done(null, certificates.choose(host)),
      ALPNProtocols: [...alpn],
      // Node's own server leaves it at 64 KiB, which every paused connection could then fill.
      highWaterMark,
    };
    const secure = new TLSSocket(this.#socket, options);
    lieUnder(secure, this.#socket);
    secure.on('error', this.#failed);
    // Of a record that is not good, after the handshake as well: node leaves the end of the connection to its own server.
    secure.on('_tlsError', () => {
      this.#failed();
      secure.destroy();
    });
    secure.once('secure', () => {
      if (this.#stage === 'ended') return;
      this.#end('ok');
      onSecure(secure);
    });
  }

  end(result: HandshakeResult): void {
    this.#end(result);
    this.#socket.destroy();
  }

  readonly #heard = (): void => {
    if (this.#stage !== 'silent') return;
    if (this.#socket.readableLength === 0) return this.end('left');
    this.#stage = 'waiting';
    this.#handshakes.waits(this);
  };

  readonly #failed = (): void => {
    this.#end('failed');
  };

  readonly #closed = (): void => {
    this.#end('left');
  };

  #end(result: HandshakeResult): void {
    if (this.#stage === 'ended') return;
    this.#stage = 'ended';
    this.#socket.off('close', this.#closed);
    this.#handshakes.deps.deadlines.delete(this);
    this.#handshakes.ended(this, result);
  }
}
