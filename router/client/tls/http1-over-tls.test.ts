/** The tests of HTTP/1.1 once more, over TLS: one front before them all, not a copy. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { connect } from 'node:tls';
import { certificates } from '../../../test/support/certificates.ts';
import { fronts, type Front } from '../../testing/router.ts';
import { tlsConfig } from './config.ts';

const front = await createTlsFront();
let led = 0;
after(() => assert.ok(led > 100, `only ${led} routers were reached over TLS`));
for (const file of [
  'message/conformance',
  'call/forward',
  'message/headers',
  'hold/hold',
  'client/hostile',
  'client/bounds',
  'drain',
  'upstream/upgrade',
  'upstream/websocket',
  'upstream/websocket-strict',
  'upstream/early-answer',
]) {
  await fronts.run(front, () => import(`../../${file}.test.ts`));
}

/** Clients that know nothing of TLS reach the router by it: every end, break and pause is passed on as it is. */
async function createTlsFront(): Promise<Front> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-tls-'));
  after(() => rm(folder, { recursive: true, force: true }));
  const { ca } = await certificates(folder, 'router.example');
  const certificate = [{ cert_file: join(folder, 'tls.crt'), key_file: join(folder, 'tls.key') }];
  return {
    config: { tls: tlsConfig.parse({ listen_port: 0, certificate, handshake_timeout_secs: 300 }) },
    async lead(t, port) {
      led += 1;
      const sockets = new Set<Socket>();
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (plain) => {
        const raw = connectTcp({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
        const secure = connect({ socket: raw, ca, servername: 'router.example', ALPNProtocols: ['http/1.1'] });
        raw.on('error', () => plain.resetAndDestroy());
        passOn(sockets, plain, secure, () => raw.resetAndDestroy());
        passOn(sockets, secure, plain, () => plain.resetAndDestroy());
      });
      await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
      t.after(
        () =>
          new Promise((resolve) => {
            server.close(resolve);
            for (const socket of sockets) socket.destroy();
          }),
      );
      return (server.address() as AddressInfo).port;
    },
  };
}

function passOn(sockets: Set<Socket>, from: Socket, to: Socket, reset: () => void): void {
  sockets.add(from);
  let broken = false;
  from.on('data', (chunk: Buffer) => {
    if (!to.write(chunk)) from.pause();
  });
  from.on('drain', () => to.resume());
  from.on('end', () => to.end());
  from.on('error', () => (broken = true));
  from.on('close', () => {
    sockets.delete(from);
    if (to.destroyed) return;
    if (broken) reset();
    else to.destroySoon();
  });
}
