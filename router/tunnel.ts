/**
 * After 101 (WebSocket and the like): two sockets joined, each side no faster than the other takes, each able to end its half
 * first. A side that fails or is gone takes the other with it.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../shared/clock.ts';
import type { App } from './apps.ts';
import type { Call } from './call.ts';
import type { Caller, ClientTunnel } from './caller.ts';
import type { ExchangeDeps } from './exchange-deps.ts';
import type { HeadWriter } from './http1/head-writer.ts';
import type { Target } from './targets.ts';
import type { UpstreamConnection, UpstreamUser } from './upstream.ts';

interface TunnelDeps {
  readonly clock: Clock;
  readonly writer: HeadWriter;
  /** That wait for one side at most, before the other is held up. */
  readonly streamBytes: number;
  /** Age at which it is ended. */
  readonly maxAgeMs: number;
  /** Both sides are closed. */
  readonly onEnded: (received: number, sent: number) => void;
}

/** Time a side has to take what is left, and to end itself, after the other has closed or the tunnel is too old. */
const lastBytesMs = 5_000;

/**
 * Joins the two, once the head of the 101 is in the writer.
 * @param writeFirst what the app has sent behind it.
 * @returns whether the app may go on at once.
 */
export function openTunnel(
  call: Call,
  upstream: UpstreamConnection,
  app: App,
  target: Target,
  deps: ExchangeDeps,
  writeFirst: (writer: HeadWriter) => void,
): boolean {
  const { caller } = call;
  target.upgraded += 1;
  // A break has to be seen as one.
  upstream.socket.outlivesWrites = false;
  const tunnel = new Tunnel(caller, upstream, {
    clock: deps.clock,
    writer: deps.writer,
    streamBytes: deps.limits.streamBytes,
    maxAgeMs: app.route.upgradeMaxAgeMs ?? Infinity,
    onEnded(received, sent) {
      target.upgraded -= 1;
      deps.onLeft(app, target);
      call.bytesReceived = received;
      call.bytesSent = sent;
      deps.onEnded(app, call, received + sent);
    },
  });
  upstream.user = tunnel;
  call.status = 101;
  caller.becomeTunnel(tunnel);
  deps.onUpgraded(app, call);
  writeFirst(deps.writer);
  const more = tunnel.begin(caller.answer.flush());
  caller.startTunnel();
  return more;
}

class Tunnel implements ClientTunnel, UpstreamUser {
  readonly #caller: Caller;
  readonly #client: Duplex;
  readonly #app: Socket;
  readonly #upstream: UpstreamConnection;
  readonly #deps: TunnelDeps;
  #open = 2;
  #received = 0;
  #sent = 0;
  #clientHeldUp = false;
  #appHeldUp = false;
  #tooOld = false;

  constructor(caller: Caller, upstream: UpstreamConnection, deps: TunnelDeps) {
    this.#caller = caller;
    this.#client = caller.socket;
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
    this.#app.write(chunk);
    if (this.#app.writableLength <= this.#deps.streamBytes) return;
    this.#clientHeldUp = true;
    this.#client.pause();
  }

  upstreamBytes(bytes: Buffer, count: number): boolean {
    this.#sent += count;
    if (!this.#client.writable) return true;
    const { writer, streamBytes } = this.#deps;
    writer.range(bytes, 0, count);
    writer.send(this.#client);
    this.#appHeldUp = this.#client.writableLength > streamBytes;
    return !this.#appHeldUp;
  }

  clientDrained(): void {
    if (!this.#appHeldUp) return;
    this.#appHeldUp = false;
    this.#app.resume();
  }

  upstreamDrained(): void {
    if (!this.#clientHeldUp) return;
    this.#clientHeldUp = false;
    this.#client.resume();
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
    this.#sideClosed(this.#client, error !== undefined && (() => this.#caller.reset()));
  }

  upstreamConnected(): void {
    // It was, before there was a tunnel.
  }

  /** At its age: both sides are told the end, and get what was said before that; those that stay then are cut off. */
  upstreamTimedOut(): void {
    if (this.#tooOld) {
      this.#client.destroy();
      this.#app.destroy();
      return;
    }
    this.#tooOld = true;
    this.#upstream.deadlineMs = this.#deps.clock.nowMs() + lastBytesMs;
    this.#client.end();
    this.#app.end();
    // A side that is held up could not be heard to end.
    this.#client.resume();
    this.#app.resume();
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
