/** One new connection of TLS until it is secure: silent, then waiting for its turn, then begun. */
import type { Socket } from 'node:net';
import { TLSSocket, type SecureContext, type TLSSocketOptions } from 'node:tls';
import type { Clock } from '../../../shared/wait/clock.ts';
import { lieUnder } from '../../io/client-socket.ts';
import type { Deadlines, Timed } from '../../io/deadlines.ts';
import { addressOf, clientOf } from '../client-limit.ts';
import type { Evictable } from '../connection-deps.ts';

/** `left`: by the client, before it said anything or midway · `crowded`: it made room for a newer one. */
export type HandshakeResult = 'ok' | 'failed' | 'timeout' | 'left' | 'crowded';

export type HandshakeStage = 'silent' | 'waiting' | 'begun' | 'ended';

export interface HandshakeDeps {
  readonly certificates: { readonly first: SecureContext; choose(host: string): SecureContext };
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** Protocols offered, the preferred one first. */
  readonly alpn: () => readonly string[];
  readonly timeoutMs: number;
  /** The high-water mark of the secure socket, for both directions. */
  readonly highWaterMark: number;
  readonly onSecure: (socket: TLSSocket) => void;
}

/** Whoever gives handshakes their turns. */
export interface HandshakeScheduler {
  readonly deps: HandshakeDeps;
  /** The client has spoken: the handshake waits for its turn. */
  waits(handshake: Handshake): void;
  ended(handshake: Handshake, stage: HandshakeStage, result: HandshakeResult): void;
  schedule(): void;
}

export class Handshake implements Timed, Evictable {
  readonly client: string;
  stage: HandshakeStage = 'silent';
  deadlineMs: number;
  begunMs = 0;
  readonly lingers = false;
  readonly #socket: Socket;
  readonly #scheduler: HandshakeScheduler;
  readonly #arrivedMs: number;
  #heardBytes = 0;

  constructor(socket: Socket, scheduler: HandshakeScheduler) {
    const { clock, deadlines, timeoutMs } = scheduler.deps;
    this.#socket = socket;
    this.#scheduler = scheduler;
    this.client = clientOf(addressOf(socket) ?? '');
    this.#arrivedMs = clock.nowMs();
    this.deadlineMs = this.#arrivedMs + timeoutMs;
    deadlines.add(this);
    socket.on('error', this.#failed);
    socket.on('close', this.#closed);
    socket.on('readable', this.#heard);
  }

  get gone(): boolean {
    return this.stage !== 'waiting';
  }

  /** A handshake that waits for its turn is not late: the router is. */
  isEvictable(idleSinceMs: number): boolean {
    if (this.stage === 'silent') return this.#arrivedMs <= idleSinceMs;
    return this.stage === 'begun' && this.begunMs <= idleSinceMs;
  }

  evict(): void {
    this.end('crowded');
  }

  checkDeadlines(nowMs: number): void {
    if (nowMs >= this.deadlineMs) this.end('timeout');
    else if (this.stage === 'waiting') this.#scheduler.schedule();
  }

  begin(): void {
    const { certificates, alpn, highWaterMark, clock, onSecure } = this.#scheduler.deps;
    this.stage = 'begun';
    this.#socket.off('readable', this.#heard);
    this.begunMs = clock.nowMs();
    const options: TLSSocketOptions & { readonly highWaterMark: number } = {
      isServer: true,
      secureContext: certificates.first,
      SNICallback: (host, done) => done(null, certificates.choose(host)),
      ALPNProtocols: [...alpn()],
      // Node's own server leaves it at 64 KiB, which every paused connection could then fill.
      highWaterMark,
    };
    const secure = new TLSSocket(this.#socket, options);
    lieUnder(secure, this.#socket);
    secure.on('error', this.#failed);
    // Fired for a bad record, after the handshake as well; Node leaves it to its own server to end the connection.
    secure.on('_tlsError', () => {
      this.#failed();
      secure.destroy();
    });
    // A handshake cannot go on without the client's half.
    const left = (): void => this.end('left');
    secure.once('end', left);
    secure.once('secure', () => {
      secure.off('end', left);
      if (this.stage === 'ended') return;
      this.#end('ok');
      onSecure(secure);
    });
  }

  end(result: HandshakeResult): void {
    this.#end(result);
    this.#socket.destroy();
  }

  readonly #heard = (): void => {
    // Readable without more bytes: the client has ended its half.
    const bytes = this.#socket.readableLength;
    if (bytes === this.#heardBytes) return this.end('left');
    this.#heardBytes = bytes;
    if (this.stage !== 'silent') return;
    this.stage = 'waiting';
    this.#scheduler.waits(this);
  };

  readonly #failed = (): void => {
    this.#end('failed');
  };

  readonly #closed = (): void => {
    this.#end('left');
  };

  #end(result: HandshakeResult): void {
    const { stage } = this;
    if (stage === 'ended') return;
    this.stage = 'ended';
    this.#socket.off('readable', this.#heard);
    this.#socket.off('close', this.#closed);
    this.#scheduler.deps.deadlines.delete(this);
    this.#scheduler.ended(this, stage, result);
  }
}
