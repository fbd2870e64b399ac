/**
 * New connections of TLS until they are secure. A handshake costs a hundred times what a call costs, and whoever connects can
 * have one begun: so a connection that has said nothing is not begun with, each turn of the event loop has some time for
 * handshakes and no more, and the number under way is bounded. Over the bound the oldest makes room, when it has had its time: an
 * honest client needs two trips. Where they come faster than they can be done, the newest goes first: who has waited for long
 * is likely to have given up.
 */
import type { Socket } from 'node:net';
import { TLSSocket, type SecureContext, type TLSSocketOptions } from 'node:tls';
import type { Clock } from '../../shared/clock.ts';
import { lieUnder } from '../client/client-socket.ts';
import type { Deadlines, Timed } from '../deadlines.ts';

export interface HandshakesDeps {
  readonly certificates: { readonly first: SecureContext; choose(host: string): SecureContext };
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** Protocols offered, the preferred one first. */
  readonly alpn: () => readonly string[];
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

/** One with the common keys takes from a tenth of it to all of it. */
const turnMs = 2;
/** What each may have before it has to make room. */
const patienceMs = 2_000;

type Stage = 'silent' | 'waiting' | 'begun' | 'ended';

export class Handshakes {
  readonly deps: HandshakesDeps;
  readonly #all = new Set<Handshake>();
  /** The newest last; some may have ended meanwhile. */
  #waiting: Handshake[] = [];
  #waitingCount = 0;
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
    this.#waiting.push(handshake);
    this.#waitingCount += 1;
    this.schedule();
  }

  ended(handshake: Handshake, stage: Stage, result: HandshakeResult): void {
    this.#all.delete(handshake);
    if (stage === 'waiting') {
      this.#waitingCount -= 1;
      if (this.#waiting.length > 2 * this.#waitingCount + 64) {
        this.#waiting = this.#waiting.filter((other) => other.stage === 'waiting');
      }
    }
    if (this.#begun.delete(handshake)) this.schedule();
    this.deps.onEnded(result);
  }

  schedule(): void {
    if (this.#waitingCount > 0) this.#turn ??= setImmediate(this.#startTurn);
  }

  readonly #startTurn = (): void => {
    this.#turn = undefined;
    this.#beginOne(this.deps.clock.nowMs() + turnMs);
  };

  /** One now, and the next when its work is done, in this turn while there is time. */
  #beginOne(untilMs: number): void {
    const { clock, max } = this.deps;
    if (this.#begun.size >= max && !this.#makeRoom()) return;
    let handshake = this.#waiting.pop();
    while (handshake !== undefined && handshake.stage !== 'waiting') handshake = this.#waiting.pop();
    if (handshake === undefined) return;
    this.#waitingCount -= 1;
    this.#begun.add(handshake);
    handshake.begin();
    // Node does the work with what has come on its next tick, which is before this one.
    process.nextTick(() => {
      if (clock.nowMs() < untilMs) this.#beginOne(untilMs);
      else this.schedule();
    });
  }

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
  stage: Stage = 'silent';
  #heardBytes = 0;
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
    socket.on('readable', this.#heard);
  }

  checkDeadlines(nowMs: number): void {
    if (nowMs >= this.deadlineMs) this.end('timeout');
    else if (this.stage === 'waiting') this.#handshakes.schedule();
  }

  begin(): void {
    const { certificates, alpn, highWaterMark, clock, onSecure } = this.#handshakes.deps;
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
    // Of a record that is not good, after the handshake as well: node leaves the end of the connection to its own server.
    secure.on('_tlsError', () => {
      this.#failed();
      secure.destroy();
    });
    // Its other half is of no use without this one.
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
    // Told without more having come, it is the end.
    const bytes = this.#socket.readableLength;
    if (bytes === this.#heardBytes) return this.end('left');
    this.#heardBytes = bytes;
    if (this.stage !== 'silent') return;
    this.stage = 'waiting';
    this.#handshakes.waits(this);
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
    this.#handshakes.deps.deadlines.delete(this);
    this.#handshakes.ended(this, stage, result);
  }
}
