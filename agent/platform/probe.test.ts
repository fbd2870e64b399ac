import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { probeOnce } from './probe.ts';

/** An app that says these parts, each in a packet of its own, to whoever has asked; then nothing more. */
async function appThatSays(
  t: TestContext,
  ...parts: readonly string[]
): Promise<{ port: number; heard: () => string }> {
  let heard = '';
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      heard += chunk.toString();
      if (!heard.endsWith('\r\n\r\n')) return;
      const left = [...parts];
      const say = (): void =>
        void (left.length > 0 && !socket.destroyed && socket.write(left.shift() ?? '', () => setImmediate(say)));
      say();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return { port: (server.address() as AddressInfo).port, heard: () => heard };
}

const ask = (port: number, timeoutMs = 5_000, signal = new AbortController().signal): Promise<boolean> =>
  probeOnce({ host: '127.0.0.1', port, healthPath: '/healthz?deep=1', timeoutMs }, signal);

const healthy: Record<string, readonly string[]> = {
  'in one piece': ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
  'by HTTP/1.0, without a reason': ['HTTP/1.0 204\r\n\r\n'],
  'in pieces': ['HT', 'TP/1.1 20', '0 O', 'K\r', '\nContent-Length: 0\r\n\r\n'],
  'after interim answers': [
    'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r',
    '\nHTTP/1.1 302 Found\r\n',
  ],
};
for (const [how, parts] of Object.entries(healthy)) {
  test(`an app is healthy that says so ${how}`, async (t) => {
    const { port } = await appThatSays(t, ...parts);
    assert.equal(await ask(port), true);
  });
}

const unhealthy: Record<string, readonly string[]> = {
  'that it is not': ['HTTP/1.1 503 Service Unavailable\r\n'],
  'that it is not, after an interim answer': ['HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 \r\n'],
  'something else than HTTP': ['220 mail.example ESMTP\r\n'],
  'interim answers without end': Array<string>(2_000).fill('HTTP/1.1 102 Processing\r\n\r\n'),
  'a line without end': Array<string>(200).fill('x'.repeat(200)),
};
for (const [what, parts] of Object.entries(unhealthy)) {
  test(`an app is not healthy that says ${what}`, async (t) => {
    const { port } = await appThatSays(t, ...parts);
    assert.equal(await ask(port), false);
  });
}

test('an app that says nothing is not healthy when the time is over, or the signal aborts', async (t) => {
  const { port, heard } = await appThatSays(t);
  assert.equal(await ask(port, 20), false);
  assert.match(
    heard(),
    /^GET \/healthz\?deep=1 HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\nUser-Agent: holdfast-probe\r\n/,
  );
  assert.equal(await ask(port, 60_000, AbortSignal.timeout(20)), false);
  assert.equal(await ask(port, 60_000, AbortSignal.abort()), false);
});
