import assert from 'node:assert/strict';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { createServer } from 'node:http';
import { test, type TestContext } from 'node:test';
import type { ProbeOutcome } from '../../../../shared/net/http-probe.ts';
import { systemClock } from '../../../../shared/wait/clock.ts';
import { createProber } from './probe.ts';

async function listen(t: TestContext, server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

function proberOf(t: TestContext) {
  const prober = createProber({ clock: systemClock });
  t.after(() => prober.close());
  return prober;
}

const { signal } = new AbortController();
const answers = { host: '127.0.0.1', wants: 'answer' } as const;

test('a single probe says whether the pod answers', async (t) => {
  const prober = proberOf(t);
  const mute = createTcpServer((socket) => socket.destroy());
  const port = await listen(
    t,
    createServer((_, response) => response.writeHead(404).end()),
  );
  assert.equal(await prober.once({ ...answers, port }, signal), true);
  assert.equal(await prober.once({ ...answers, port: await listen(t, mute) }, signal), false);
  assert.equal(await prober.once({ ...answers, port: 1 }, signal), false);
});

test('a watch tells what it sees, and ends with the first answer of a port that opens later', async (t) => {
  const prober = proberOf(t);
  const taken = createTcpServer();
  const port = await listen(t, taken);
  await new Promise((resolve) => taken.close(resolve));
  const seen: ProbeOutcome['kind'][] = [];
  const first = Promise.withResolvers<void>();
  const answered = new Promise<void>((resolve) =>
    prober.watch({ ...answers, port }, ({ kind }) => {
      seen.push(kind);
      if (kind === 'ready') resolve();
      else first.resolve();
    }),
  );
  await first.promise;
  await listen(
    t,
    createServer((_, response) => response.end()),
    port,
  );
  await answered;
  assert.equal(seen[0], 'refused');
  assert.equal(seen.filter((kind) => kind === 'ready').length, 1);
});

test('a watch that is taken back, or whose prober is closed, tells nothing and leaves nothing', async () => {
  let probing = 0;
  let release = (): void => undefined;
  const prober = createProber({
    clock: systemClock,
    probe: async () => {
      probing += 1;
      await new Promise<void>((resolve) => (release = resolve));
      probing -= 1;
      return { kind: 'ready' };
    },
  });
  const address = { host: '10.0.0.1', port: 1, wants: 'answer' } as const;
  const end = prober.watch(address, () => assert.fail('it was taken back'));
  end();
  release();
  prober.watch(address, () => assert.fail('the prober is closed'));
  const closed = prober.close();
  release();
  await closed;
  assert.equal(probing, 0);
});
