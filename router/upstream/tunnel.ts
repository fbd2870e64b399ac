/**
 * After 101 (WebSocket and the like): two sockets joined, each side no faster than the other takes, each able to end its half
 * first. A side that fails takes the other with it. A WebSocket that the router ends gets a Close frame.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../../shared/wait/clock.ts';
import type { Call, CallApp } from '../call/call.ts';
import type { ClientTunnel, TunnelHost } from '../call/client-side.ts';
import { pauseReading, resumeReading } from '../io/socket-state.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import type { ResponseParser } from '../message/response-parser.ts';
import type { ConnectionUser, UpstreamConnection } from './connection.ts';
import type { UpstreamTarget } from './target.ts';
import { goingAwayFrame, WebSocketFrames } from './websocket-frames.ts';

export interface TunnelEvents {
  callUpgraded(app: CallApp, call: Call): void;
  /** Both ends of the tunnel are closed, after so many bytes both ways. */
  tunnelClosed(app: CallApp, call: Call, bytes: number): void;
  /** A call or a tunnel has left the target. */
  targetLeft(app: CallApp, target: UpstreamTarget): void;
}

export interface TunnelDeps {
  readonly clock: Clock;
  readonly writer: HeadWriter;
  /** The open ones. */
  readonly tunnels: Set<Tunnel>;
  readonly events: TunnelEvents;
}

/** A call whose target has switched protocols, and both ends of it. */
export interface UpgradedCall {
  readonly call: Call;
  readonly host: TunnelHost;
  readonly connection: UpstreamConnection;
  readonly app: CallApp;
  readonly target: UpstreamTarget;
}

/** Time a side has to take what is left, and to end itself, after the other has closed or the tunnel is too old. */
const lastBytesMs = 5_000;

export class Tunnel implements ClientTunnel, ConnectionUser {
  readonly #upgraded: UpgradedCall;
  readonly #deps: TunnelDeps;
  readonly #client: Duplex;
  readonly #app: UpstreamConnection;
  /** Follows the app's frames, if the protocol is WebSocket. */
  readonly #frames: WebSocketFrames | undefined;
  #open = 2;
  #received = 0;
  #sent = 0;
  #clientPaused = false;
  #appPaused = false;
  /** The router is to close the tunnel · has said so, and drops what the app still sends. */
  #leaving: 'no' | 'wanted' | 'said' = 'no';

  private constructor(upgraded: UpgradedCall, deps: TunnelDeps) {
    const { call, host, connection } = upgraded;
    this.#upgraded = upgraded;
    this.#deps = deps;
    this.#client = host.socket;
    this.#app = connection;
    this.#frames = call.head.upgrade?.toLowerCase() === 'websocket' ? new WebSocketFrames() : undefined;
  }

  /**
   * Joins the two ends.
   * @param block the 101, whose head `parser` has parsed, and what the app has sent behind it.
   * @returns whether the client keeps up.
   */
  static open(upgraded: UpgradedCall, deps: TunnelDeps, block: Buffer, parser: ResponseParser): boolean {
    const { call, host, connection, app, target } = upgraded;
    const tunnel = new Tunnel(upgraded, deps);
    target.upgraded += 1;
    deps.tunnels.add(tunnel);
    // A failed write must break the tunnel.
    connection.outlivesWrites = false;
    connection.user = tunnel;
    connection.deadlineMs = deps.clock.nowMs() + (app.route.upgradeMaxAgeMs ?? Infinity);
    call.status = 101;
    const start = parser.end;
    host.switchTo(tunnel, block, parser);
    deps.events.callUpgraded(app, call);
    tunnel.#frames?.read(block, start, block.length);
    deps.writer.range(block, start, block.length);
    const more = call.clientSide.answer.flush();
    tunnel.#appPaused = !more;
    host.start();
    return more;
  }

  fromClient(chunk: Buffer): void {
    this.#received += chunk.length;
    if (!this.#app.writable) return;
    const { writer } = this.#deps;
    writer.range(chunk, 0, chunk.length);
    writer.send(this.#app);
    if (!this.#app.isBehind()) return;
    this.#clientPaused = true;
    pauseReading(this.#client);
  }

  upstreamBytes(bytes: Buffer, count: number): boolean {
    this.#sent += count;
    if (!this.#client.writable || this.#leaving === 'said') return true;
    const { writer } = this.#deps;
    const { answer } = this.#upgraded.call.clientSide;
    this.#frames?.read(bytes, 0, count);
    writer.range(bytes, 0, count);
    let more = answer.flush();
    if (this.#leaving === 'wanted') {
      this.#sayGoingAway();
      more = answer.flush();
    }
    this.#appPaused = !more;
    return more;
  }

  /**
   * Closes a WebSocket with 1001 at the end of the frame that the app is sending; other protocols stay open. The client answers the
   * Close frame, and the app then closes as with any client that closes.
   */
  goAway(): void {
    if (this.#leaving !== 'no') return;
    this.#leaving = 'wanted';
    this.#sayGoingAway();
  }

  #sayGoingAway(): void {
    const frames = this.#frames;
    const { writer } = this.#deps;
    if (frames === undefined || !frames.between || frames.closed || !this.#client.writable) return;
    this.#leaving = 'said';
    writer.range(goingAwayFrame, 0, goingAwayFrame.length);
    writer.send(this.#client);
  }

  clientDrained(): void {
    if (!this.#appPaused) return;
    this.#appPaused = false;
    resumeReading(this.#app);
  }

  upstreamDrained(): void {
    if (!this.#clientPaused) return;
    this.#clientPaused = false;
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
    this.#sideClosed(this.#client, error !== undefined && (() => this.#upgraded.call.clientSide.breakOff()));
  }

  upstreamConnected(): void {
    // The connection was made before there was a tunnel.
  }

  /** At its maximum age a WebSocket gets a Close frame, and any other protocol is ended on both sides; later both are cut off. */
  upstreamTimedOut(): void {
    if (this.#leaving !== 'no') {
      this.#client.destroy();
      this.#app.destroy();
      return;
    }
    this.#app.deadlineMs = this.#deps.clock.nowMs() + lastBytesMs;
    this.goAway();
    if (this.#frames === undefined) {
      this.#client.end();
      this.#app.end();
    }
    // The end of a side that is not read would not be seen.
    resumeReading(this.#client);
    resumeReading(this.#app);
  }

  #sideClosed(other: Duplex, reset: false | (() => void)): void {
    this.#open -= 1;
    if (this.#open === 0) this.#ended();
    if (other.destroyed) return;
    // A break must not look like an end.
    if (reset !== false) reset();
    else {
      // Both halves of the one side are over; the other one has a moment to take what is left.
      const cancel = this.#deps.clock.after(lastBytesMs, () => other.destroy());
      other.once('close', cancel);
      other.end(() => other.destroy());
    }
  }

  #ended(): void {
    const { call, app, target } = this.#upgraded;
    const { tunnels, events } = this.#deps;
    tunnels.delete(this);
    target.upgraded -= 1;
    events.targetLeft(app, target);
    call.bytesReceived = this.#received;
    call.bytesSent = this.#sent;
    events.tunnelClosed(app, call, this.#received + this.#sent);
  }
}
