/**
 * After 101 (WebSocket and the like): two sockets joined, each side no faster than the other takes, each able to end its half
 * first. A side that fails or is gone takes the other with it. A WebSocket that we have to end is closed in its own words.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../shared/wait/clock.ts';
import type { App } from '../table/apps.ts';
import type { Call } from '../call/call.ts';
import type { ClientSide, ClientTunnel, TunnelHost } from '../call/client-side.ts';
import { pauseReading, resumeReading } from '../io/direct-io.ts';
import type { ExchangeDeps } from './exchange-deps.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import type { Target } from './targets.ts';
import type { UpstreamConnection, UpstreamUser } from './pool.ts';
import { goingAwayFrame, WebSocketFrames } from './websocket-frames.ts';

interface TunnelDeps {
  readonly clock: Clock;
  readonly writer: HeadWriter;
  /** Age at which it is ended. */
  readonly maxAgeMs: number;
  /** Of the app, where it is a WebSocket. */
  readonly frames: WebSocketFrames | undefined;
  /** Both sides are closed. */
  readonly onEnded: (received: number, sent: number) => void;
}

/** Those that are open. */
export class Tunnels {
  readonly #open = new Set<Tunnel>();

  add(tunnel: Tunnel): void {
    this.#open.add(tunnel);
  }

  delete(tunnel: Tunnel): void {
    this.#open.delete(tunnel);
  }

  /** WebSockets are closed with 1001, at the end of the frame that the app is sending; what is none of them stays. */
  goAway(): void {
    for (const tunnel of this.#open) tunnel.goAway();
  }
}

/** Time a side has to take what is left, and to end itself, after the other has closed or the tunnel is too old. */
const lastBytesMs = 5_000;

/**
 * Joins the two.
 * @param block the 101, whose head `deps.parser` has parsed, and what the app has sent behind it, until `end`.
 * @returns whether the app may go on at once.
 */
export function openTunnel(
  call: Call,
  host: TunnelHost,
  upstream: UpstreamConnection,
  app: App,
  target: Target,
  deps: ExchangeDeps,
  block: Buffer,
  end: number,
): boolean {
  const { clientSide } = call;
  const start = deps.parser.end;
  target.upgraded += 1;
  // A break has to be seen as one.
  upstream.socket.outlivesWrites = false;
  const frames = call.head.upgrade?.toLowerCase() === 'websocket' ? new WebSocketFrames() : undefined;
  const tunnel = new Tunnel(clientSide, host, upstream, {
    clock: deps.clock,
    writer: deps.writer,
    maxAgeMs: app.route.upgradeMaxAgeMs ?? Infinity,
    frames,
    onEnded(received, sent) {
      deps.tunnels.delete(tunnel);
      target.upgraded -= 1;
      deps.onLeft(app, target);
      call.bytesReceived = received;
      call.bytesSent = sent;
      deps.onEnded(app, call, received + sent);
    },
  });
  deps.tunnels.add(tunnel);
  upstream.user = tunnel;
  call.status = 101;
  host.switchTo(tunnel, block, deps.parser);
  deps.onUpgraded(app, call);
  frames?.read(block, start, end);
  deps.writer.range(block, start, end);
  const more = tunnel.begin(clientSide.answer.flush());
  host.start();
  return more;
}

class Tunnel implements ClientTunnel, UpstreamUser {
  readonly #clientSide: ClientSide;
  readonly #client: Duplex;
  readonly #app: Socket;
  readonly #upstream: UpstreamConnection;
  readonly #deps: TunnelDeps;
  #open = 2;
  #received = 0;
  #sent = 0;
  #clientHeldUp = false;
  #appHeldUp = false;
  /** It is to be closed by us · and has been: what the app still sends is for nobody. */
  #leaving: 'no' | 'wanted' | 'said' = 'no';

  constructor(clientSide: ClientSide, host: TunnelHost, upstream: UpstreamConnection, deps: TunnelDeps) {
    this.#clientSide = clientSide;
    this.#client = host.socket;
    this.#upstream = upstream;
    this.#app = upstream.socket;
    this.#deps = deps;
    upstream.deadlineMs = deps.clock.nowMs() + deps.maxAgeMs;
  }

  /** @param more whether the client took what the app has sent until now. */
  begin(more: boolean): boolean {
    this.#appHeldUp = !more;
    return more;
  }

  fromClient(chunk: Buffer): void {
    this.#received += chunk.length;
    if (!this.#app.writable) return;
    const { writer } = this.#deps;
    writer.range(chunk, 0, chunk.length);
    writer.send(this.#app);
    if (!this.#upstream.behind()) return;
    this.#clientHeldUp = true;
    pauseReading(this.#client);
  }

  upstreamBytes(bytes: Buffer, count: number): boolean {
    this.#sent += count;
    if (!this.#client.writable || this.#leaving === 'said') return true;
    const { frames, writer } = this.#deps;
    frames?.read(bytes, 0, count);
    writer.range(bytes, 0, count);
    let more = this.#clientSide.answer.flush();
    if (this.#leaving === 'wanted') {
      this.#sayGoingAway();
      more = this.#clientSide.answer.flush();
    }
    this.#appHeldUp = !more;
    return !this.#appHeldUp;
  }

  /** What then ends it is the client's answer, to which the app answers by closing, as to any client that closes. */
  goAway(): void {
    if (this.#leaving !== 'no') return;
    this.#leaving = 'wanted';
    this.#sayGoingAway();
  }

  #sayGoingAway(): void {
    const { frames, writer } = this.#deps;
    if (frames === undefined || !frames.between || frames.closed || !this.#client.writable) return;
    this.#leaving = 'said';
    writer.range(goingAwayFrame, 0, goingAwayFrame.length);
    writer.send(this.#client);
  }

  clientDrained(): void {
    if (!this.#appHeldUp) return;
    this.#appHeldUp = false;
    resumeReading(this.#app);
  }

  upstreamDrained(): void {
    if (!this.#clientHeldUp) return;
    this.#clientHeldUp = false;
    resumeReading(this.#client);
  }

  clientEnded(): void {
    this.#app.end();
  }

  upstreamEnded(): void {
    this.#client.end();
  }

  clientClosed(errored: boolean): void {
    this.#sideClosed(this.#app, errored && (() => this.#app.resetAndDestroy()));
  }

  upstreamClosed(error: Error | undefined): void {
    this.#sideClosed(this.#client, error !== undefined && (() => this.#clientSide.breakOff()));
  }

  upstreamConnected(): void {
    // It was, before there was a tunnel.
  }

  /** At its age: a WebSocket is closed, of anything else both sides are told the end; those that stay then are cut off. */
  upstreamTimedOut(): void {
    if (this.#leaving !== 'no') {
      this.#client.destroy();
      this.#app.destroy();
      return;
    }
    this.#upstream.deadlineMs = this.#deps.clock.nowMs() + lastBytesMs;
    this.goAway();
    if (this.#deps.frames === undefined) {
      this.#client.end();
      this.#app.end();
    }
    // A side that is held up could not be heard to end.
    resumeReading(this.#client);
    resumeReading(this.#app);
  }

  #sideClosed(other: Duplex, reset: false | (() => void)): void {
    this.#open -= 1;
    if (this.#open === 0) this.#deps.onEnded(this.#received, this.#sent);
    if (other.destroyed) return;
    // A break is passed on as one: it must not look like an end.
    if (reset !== false) reset();
    else {
      // Both halves of the one are over: what the other has still to take may go, for a moment.
      const cancel = this.#deps.clock.after(lastBytesMs, () => other.destroy());
      other.once('close', cancel);
      other.end(() => other.destroy());
    }
  }
}
