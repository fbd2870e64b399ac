import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchangeBytes, startRawApp } from '../testing/raw-bytes.ts';
import { ready, routeOf, startTestRouter } from '../testing/router.ts';

const get = 'GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n';
const ok = 'HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok';
const okClosed = 'HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok';

test('an answer cut at every byte is passed on as if it came whole', async (t) => {
  const says =
    'HTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n';
  for (let cut = 1; cut < says.length; cut += 1) {
    const raw = await startRawApp(t, {
      onData(socket) {
        socket.write(says.slice(0, cut), 'latin1', () => setImmediate(() => socket.write(says.slice(cut), 'latin1')));
      },
    });
    const { port, router } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
    const answer = await exchangeBytes(port, get);
    await router.close();
    const [, head = '', body = ''] = /^HTTP\/1\.1 103 X\r\nA: b\r\n\r\n([^]*?)\r\n\r\n([^]*)$/.exec(answer) ?? [];
    assert.equal(
      head,
      'HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nConnection: close',
      `cut at ${cut}`,
    );
    assert.match(body, /^(3\r\nabc|2\r\nab\r\n1\r\nc|1\r\na\r\n2\r\nbc)\r\n0\r\nT: 1\r\n\r\n$/, `cut at ${cut}`);
  }
});

test('an answer that ends with its connection is put in chunks, and the client keeps its own', async (t) => {
  const raw = await startRawApp(t, {
    onData: (socket) => socket.end('HTTP/1.1 200 OK\r\nDate: d\r\n\r\nall of it'),
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
  const answer = await exchangeBytes(port, get.replace('Connection: close\r\n', '') + get);
  const one = (connection: string): string =>
    `HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nConnection: ${connection}\r\n\r\n9\r\nall of it\r\n0\r\n\r\n`;
  assert.equal(answer, one('keep-alive\r\nKeep-Alive: timeout=75') + one('close'));
});

test('HTTP/1.0 keeps its connection where it asks for that and the answer has a length', async (t) => {
  const raw = await startRawApp(t, { onData: (socket) => socket.write(ok) });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
  const keep = 'GET /x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n';
  const answer = await exchangeBytes(port, `${keep}GET /x HTTP/1.0\r\nHost: h\r\n\r\n`);
  assert.equal(
    answer,
    `${ok.replace('2\r\n\r\n', '2\r\nConnection: keep-alive\r\nKeep-Alive: timeout=75\r\n\r\n')}${okClosed}`,
  );
});

test('many requests that come together are answered in their order, bodies and all', async (t) => {
  const raw = await startRawApp(t, {
    onData(socket, got) {
      const id = /\/(\d+) HTTP[^]*?\r\n\r\n(?:abc|3\r\nabc\r\n0\r\n\r\n)?$/.exec(
        got.slice(Math.max(0, got.lastIndexOf('T /') - 3)),
      )?.[1];
      if (id === undefined) return;
      // The later, the faster.
      setTimeout(() => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${id.length}\r\n\r\n${id}`), 30 - Number(id));
    },
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
  let sends = '';
  for (let i = 0; i < 30; i += 1) {
    if (i % 3 === 0) sends += `GET /${i} HTTP/1.1\r\nHost: h\r\n\r\n`;
    else if (i % 3 === 1) sends += `POST /${i} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc`;
    else sends += `PUT /${i} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`;
  }
  sends += 'GET /30 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n';
  const answer = await exchangeBytes(port, sends);
  const bodies = [...answer.matchAll(/\r\n\r\n(\d+)/g)].map((match) => Number(match[1]));
  assert.deepEqual(
    bodies,
    Array.from({ length: 31 }, (_, i) => i),
  );
});
