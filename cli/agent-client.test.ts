import assert from 'node:assert/strict';
import { type RequestListener, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connectAgent } from './agent-client.ts';

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function callTo(url: string): Promise<unknown> {
  const options = { signal: new AbortController().signal, deadlineMs: 5_000 };
  return connectAgent({ url, token: 'token' }).call('apps.list', {}, options);
}

function answers(status: number, type: string, body: string): RequestListener {
  return (req, res) => {
    req.resume();
    res.writeHead(status, { 'content-type': type }).end(body);
  };
}

test('a router, an admin port or an app at the address of the agent is told as what it is', async (t) => {
  const problem = JSON.stringify({ code: 'route_not_found', detail: 'no app has this route', status: 404 });
  for (const listener of [
    answers(404, 'application/problem+json', problem),
    answers(405, 'text/plain; charset=utf-8', 'method not allowed\n'),
    answers(200, 'text/html', '<p>an app</p>'),
    answers(200, 'application/json', '{"an":"app"}'),
  ]) {
    await assert.rejects(callTo(await serve(t, listener)), {
      code: 'link_lost',
      message: /is not the agent's RPC address/,
    });
  }
});

test('what the agent itself refuses stays as it is, and so does a proxy without an agent behind it', async (t) => {
  const refused = JSON.stringify({ code: 'unauthenticated', detail: 'a known token is needed', status: 401 });
  await assert.rejects(callTo(await serve(t, answers(401, 'application/problem+json', refused))), {
    code: 'unauthenticated',
    message: 'a known token is needed',
  });
  await assert.rejects(callTo(await serve(t, answers(503, 'text/plain', 'no upstream'))), {
    code: 'link_lost',
    message: /refused with HTTP 503/,
  });
});
