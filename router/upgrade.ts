/**
 * Upgrade (WebSocket): a call like any other until the app answers 101, held where that is needed; then two sockets
 * joined, each side no faster than the other takes, each able to end its half first.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../shared/clock.ts';
import type { App } from './apps.ts';
import type { Call, UpgradeRequest } from './call.ts';
import { sendDirect, type DirectDeps } from './direct.ts';
import { answerHeaders } from './headers.ts';
import type { Target } from './targets.ts';

/** What a client may send before its upgrade was answered; more stays in the kernel. */
const maxEarlyBytes = 65_536;
/** Time one side has to take what is left after the other has closed. */
const lastBytesMs = 5_000;

/**
 * Whether to treat a request as an upgrade. HTTP/2 over cleartext (`h2c`) is not offered, and a request with a body is
 * forwarded without its Upgrade: the server may ignore the field, RFC 9110 §7.8.
 */
export function wantsUpgrade(req: IncomingMessage): boolean {
  const { headers } = req;
  const withBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  return !withBody && !/(^|,)\s*h2c\s*(,|$)/i.test(headers.upgrade ?? '');
}

/** Reads on while the call is held, so that the client's leaving is seen; what it sends early is kept. */
export function watchClient(socket: Socket, head: Buffer): UpgradeRequest {
  const early: Buffer[] = head.length > 0 ? [head] : [];
  let bytes = head.length;
  const onData = (chunk: Buffer): void => {
    early.push(chunk);
    bytes += chunk.length;
    if (bytes >= maxEarlyBytes) socket.pause();
  };
  // A client that ends its half before the answer has no use for a connection of both.
  const onEnd = (): void => void socket.destroy();
  socket.on('error', ignore);
  socket.on('data', onData);
  socket.on('end', onEnd);
  return {
    socket,
    takeOver() {
      socket.off('data', onData);
      socket.off('end', onEnd);
      socket.pause();
      if (early.length > 0) socket.unshift(Buffer.concat(early));
    },
  };
}

export interface UpgradeDeps extends DirectDeps {
  readonly onUpgraded: (app: App, call: Call) => void;
  readonly onEnded: (app: App, bytes: number) => void;
}

/** Sends the call to the target and, when that switches protocols, joins the two. */
export function sendUpgrade(call: Call, upgrade: UpgradeRequest, app: App, target: Target, deps: UpgradeDeps): void {
  sendDirect(call, app, target, deps, {
    hopFields: ['Connection', 'Upgrade', 'Upgrade', call.req.headers.upgrade ?? ''],
    onUpgrade: (answer, upstream, first, left) => {
      const client = upgrade.socket;
      upgrade.takeOver();
      call.res.detachSocket(call.req.socket);
      deps.onUpgraded(app, call);
      client.write(switchingHead(answer));
      if (first.length > 0) upstream.unshift(first);
      join(client, upstream, deps.clock, (bytes) => {
        left();
        deps.onEnded(app, bytes);
      });
    },
  });
}

function switchingHead(answer: IncomingMessage): string {
  const fields = answerHeaders(answer.rawHeaders, { dropTrailer: true, keepUpgrade: true });
  let head = `HTTP/1.1 101 ${answer.statusMessage ?? 'Switching Protocols'}\r\n`;
  for (let i = 0; i < fields.length; i += 2) head += `${fields[i]}: ${fields[i + 1]}\r\n`;
  return `${head}\r\n`;
}

/** `pipe` passes on each end and waits where the other side is slow; a side that fails or is gone takes the other with it. */
function join(client: Socket, upstream: Socket, clock: Clock, onEnded: (bytes: number) => void): void {
  let open = 2;
  let bytes = 0;
  const closeWith = (one: Socket, other: Socket): void => {
    one.on('data', (chunk: Buffer) => (bytes += chunk.length));
    one.on('error', ignore);
    one.once('close', () => {
      if (--open === 0) onEnded(bytes);
      if (other.destroyed) return;
      // A break is passed on as one: it must not look like an end.
      if (one.errored !== null) other.resetAndDestroy();
      else {
        // Both halves of the one are over: what the other has still to take may go, for a moment.
        const cancel = clock.after(lastBytesMs, () => other.destroy());
        other.once('close', cancel);
        other.end(() => other.destroy());
      }
    });
  };
  closeWith(client, upstream);
  closeWith(upstream, client);
  client.pipe(upstream);
  upstream.pipe(client);
}

function ignore(): void {
  // 'close' follows and is what counts.
}
