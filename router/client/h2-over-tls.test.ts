import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { certificates } from '../../test/support/certificates.ts';
import { tlsConfig } from './tls/config.ts';
import { ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';
import { callBy } from '../testing/h2.ts';

test('a client of TLS that offers h2 gets it, and the app learns of https', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-h2-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await certificates(folder, ['localhost']);
  const app = await startUpstream(t, 'a-1', (req, res) => void res.end(req.headers['x-forwarded-proto']));
  const { router } = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(app)))],
    config: {
      http2_max_connections: 1,
      tls: tlsConfig.parse({
        listen_port: 0,
        certificate: [{ cert_file: join(folder, 'tls.crt'), key_file: join(folder, 'tls.key') }],
      }),
    },
  });
  const session = connect(`https://127.0.0.1:${router.tlsPort}`, { rejectUnauthorized: false });
  t.after(() => session.destroy());
  const answer = await callBy(session, '/a');
  assert.equal(session.alpnProtocol, 'h2');
  assert.deepEqual([answer.status, answer.body], [200, 'https']);
  // There is no room for one more.
  const next = connectTls({
    host: '127.0.0.1',
    port: router.tlsPort ?? 0,
    rejectUnauthorized: false,
    ALPNProtocols: ['h2', 'http/1.1'],
  });
  t.after(() => next.destroy());
  await once(next, 'secureConnect');
  assert.equal(next.alpnProtocol, 'http/1.1');
  next.destroy();
  const large = await callBy(session, '/a', { ':method': 'POST' }, Buffer.alloc(500_000));
  assert.equal(large.status, 200);
  const ended = new Promise((resolve) => session.once('close', resolve));
  await router.drain();
  await ended;
});
