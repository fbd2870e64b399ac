/**
 * New connections of TLS until they are secure. A handshake costs a hundred times what a call costs, and whoever connects can
 * have one begun: so a connection that has said nothing is not begun with, each turn of the event loop has some time for
 * handshakes and no more, and the number under way is bounded. Over the bound the oldest makes room, when it has had its time: an
 * honest client needs two trips; and a client that has none under way needs not wait for that, up to a reserve. Where they come
 * faster than they can be done, clients have their turns (turns.ts).
 */
import type { Socket } from 'node:net';
import { TLSSocket, type SecureContext, type TLSSocketOptions } from 'node:tls';
import type { Clock } from '../../../shared/wait/clock.ts';
import { lieUnder } from '../../io/client-socket.ts';
import type { Deadlines, Timed } from '../../io/deadlines.ts';
import { clientOf } from '../client-limit.ts';
import type { Evictable } from '../connection-deps.ts';
import { Turns } from './turns.ts';

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
/** Of the bound, for clients that have none under way. */
const reserveShare = 1 / 8;
/** What each may have before it has to make room. */
const patienceMs = 2_000;

type Stage = 'silent' | 'waiting' | 'begun' | 'ended';

export class Handshakes {
  readonly deps: HandshakesDeps;
  readonly #all = new Set<Handshake>();
  readonly #waiting = new Turns<Handshake>();
  readonly #begun = new Set<Handshake>();
  /** How many of them a client has. */
  readonly #begunOf = new Map<string, number>();
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

  /** Those first that came first. */
  get oldest(): Iterable<Evictable> {
    return this.#all;
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

  ended(handshake: Handshake, stage: Stage, result: HandshakeResult): void {
    this.#all.delete(handshake);
    if (stage === 'waiting') this.#waiting.left();
    if (this.#begun.delete(handshake)) {
      this.#countBegun(handshake.client, -1);
      this.schedule();
    }
    this.deps.onEnded(result);
  }

  schedule(): void {
    if (this.#waiting.size > 0) this.#turn ??= setImmediate(this.#startTurn);
  }

  readonly #startTurn = (): void => {
    this.#turn = undefined;
    this.#beginOne(this.deps.clock.nowMs() + turnMs);
  };

  /** One now, and the next when its work is done, in this turn while there is time. */
  #beginOne(untilMs: number): void {
    const { clock, max } = this.deps;
    const full = this.#begun.size >= max && !this.#makeRoom();
    if (full && this.#begun.size >= max + Math.ceil(max * reserveShare)) return;
    const handshake = this.#waiting.next((client) => !full || !this.#begunOf.has(client));
    if (handshake === undefined) return;
    this.#begun.add(handshake);
    this.#countBegun(handshake.client, 1);
    handshake.begin();
    // Node does the work with what has come on its next tick, which is before this one.
    process.nextTick(() => {
      if (clock.nowMs() < untilMs) this.#beginOne(untilMs);
      else this.schedule();
    });
  }

  #countBegun(client: string, change: number): void {
    const count = (this.#begunOf.get(client) ?? 0) + change;
    if (count === 0) this.#begunOf.delete(client);
    else this.#begunOf.set(client, count);
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

class Handshake implements Timed, Evictable {
  readonly #socket: Socket;
  readonly #handshakes: Handshakes;
  readonly client: string;
  stage: Stage = 'silent';
  #heardBytes = 0;
  deadlineMs: number;
  readonly arrivedMs: number;
  begunMs = 0;

  constructor(socket: Socket, handshakes: Handshakes) {
    const { clock, deadlines, timeoutMs } = handshakes.deps;
    this.#socket = socket;
    this.#handshakes = handshakes;
    const { remoteAddress = '' } = socket;
    this.client = clientOf(remoteAddress.startsWith('::ffff:') ? remoteAddress.slice(7) : remoteAddress);
    this.arrivedMs = clock.nowMs();
    this.deadlineMs = this.arrivedMs + timeoutMs;
    deadlines.add(this);
    socket.on('error', this.#failed);
    socket.on('close', this.#closed);
    socket.on('readable', this.#heard);
  }

  get gone(): boolean {
    return this.stage !== 'waiting';
  }

  /** One that waits for its turn is not late: we are. */
  isEvictable(idleSinceMs: number): boolean {
    if (this.stage === 'silent') return this.arrivedMs <= idleSinceMs;
    return this.stage === 'begun' && this.begunMs <= idleSinceMs;
  }

  readonly lingers = false;

  evict(): void {
    this.end('crowded');
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
