/** The informer and its transport against a real HTTP server that speaks as the API server does. */
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { silentLog } from '../../shared/log.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { createKubeApi, isStatus } from './api.ts';
import { startInformer } from './informer.ts';
import type { KubeObject } from './kube-types.ts';

type Fact = KubeObject & { readonly word?: string };

async function setUp(t: TestContext) {
  let objects: Fact[] = [];
  let revision = '1';
  let away = false;
  const lists: string[] = [];
  const watches: { readonly from: string | null; readonly response: ServerResponse }[] = [];
  const waiting: (() => void)[] = [];
  const told = (): void => waiting.splice(0).forEach((wake) => wake());

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (away) {
      request.socket.destroy();
    } else if (url.searchParams.get('watch') === 'true') {
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      watches.push({ from: url.searchParams.get('resourceVersion'), response });
    } else {
      lists.push(`${url.searchParams.get('labelSelector') ?? ''} ${request.headers.authorization ?? ''}`);
      const half = Math.ceil(objects.length / 2);
      const second = url.searchParams.get('continue') === 'half';
      // Two pages, as with `limit`.
      response.end(
        JSON.stringify({
          metadata: { resourceVersion: revision, ...(second || objects.length < 2 ? {} : { continue: 'half' }) },
          items: second ? objects.slice(half) : objects.slice(0, Math.max(1, half)),
        }),
      );
    }
    told();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const api = createKubeApi({
    access: {
      server: address,
      namespace: undefined,
      credentials: () => Promise.resolve({ headers: { authorization: 'Bearer t0ken' }, tls: {} }),
    },
  });
  const changes: string[] = [];
  const informer = startInformer<Fact, string>({
    api,
    path: '/api/v1/namespaces/apps/things',
    labelSelector: 'ours=yes',
    keep: (object) => object.word ?? '',
    onChange({ type, name, value }) {
      changes.push(`${type} ${name} ${value}`);
      told();
    },
    log: silentLog,
    clock: systemClock,
  });
  t.after(async () => {
    await informer.close();
    await api.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error('waited too long')), 10_000);
        waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }
  const thing = (name: string, word: string, resourceVersion = '1'): Fact => ({
    metadata: { name, resourceVersion },
    word,
  });
  return {
    api,
    informer,
    changes,
    lists,
    watches,
    until,
    thing,
    set: (next: Fact[], at: string) => {
      objects = next;
      revision = at;
    },
    setAway: (next: boolean) => (away = next),
    push(type: string, object: unknown) {
      watches.at(-1)?.response.write(`${JSON.stringify({ type, object })}\n`);
    },
    endWatch: () => watches.at(-1)?.response.destroy(),
  };
}

test('a picture is listed in pages, then kept by what the watch tells', async (t) => {
  const kit = await setUp(t);
  kit.set([kit.thing('a', 'one'), kit.thing('b', 'two'), kit.thing('c', 'three')], '7');
  await kit.until(() => kit.watches.length === 1);
  await kit.informer.synced(AbortSignal.timeout(5_000));
  kit.push('MODIFIED', kit.thing('a', 'uno', '8'));
  kit.push('ADDED', kit.thing('d', 'four', '9'));
  kit.push('DELETED', kit.thing('b', 'two', '10'));
  await kit.until(() => kit.changes.includes('gone b two'));
  assert.deepEqual([...kit.informer.list()].sort(), ['four', 'three', 'uno']);
  assert.equal(kit.informer.get('a'), 'uno');
  assert.equal(kit.informer.get('b'), undefined);
});

test('a broken watch goes on from where it was, bookmarks included', async (t) => {
  const kit = await setUp(t);
  await kit.until(() => kit.watches.length === 1);
  kit.push('ADDED', kit.thing('a', 'one', '8'));
  await kit.until(() => kit.changes.length === 1);
  kit.push('BOOKMARK', { metadata: { resourceVersion: '20' } });
  kit.push('MODIFIED', kit.thing('a', 'two', '21'));
  await kit.until(() => kit.changes.length === 2);
  kit.endWatch();
  await kit.until(() => kit.watches.length === 2);
  assert.equal(kit.watches[1]?.from, '21');
  const { length } = kit.lists;
  kit.push('MODIFIED', kit.thing('a', 'three', '22'));
  await kit.until(() => kit.informer.get('a') === 'three');
  assert.equal(kit.lists.length, length, 'nothing was listed again');
});

test('a watch that is too old lists again, and tells what went meanwhile', async (t) => {
  const kit = await setUp(t);
  kit.set([kit.thing('a', 'one'), kit.thing('b', 'two')], '7');
  await kit.until(() => kit.watches.length === 1);
  kit.set([kit.thing('b', 'two')], '30');
  kit.push('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' });
  await kit.until(() => kit.watches.length === 2);
  assert.equal(kit.watches[1]?.from, '30');
  assert.deepEqual([...kit.informer.list()], ['two']);
  assert.ok(kit.changes.includes('gone a one'));
});

test('while the API server is away the picture stays', async (t) => {
  const kit = await setUp(t);
  kit.set([kit.thing('a', 'one')], '7');
  await kit.until(() => kit.watches.length === 1);
  kit.setAway(true);
  kit.endWatch();
  await assert.rejects(kit.api.request({ method: 'GET', path: '/version', signal: AbortSignal.timeout(5_000) }), {
    code: 'platform_error',
  });
  assert.equal(kit.informer.get('a'), 'one');
  kit.setAway(false);
  await kit.until(() => kit.watches.length === 2);
  kit.push('MODIFIED', kit.thing('a', 'two', '8'));
  await kit.until(() => kit.informer.get('a') === 'two');
});

test('who waits for the first list can leave, and is let go when the informer is closed', async (t) => {
  const kit = await setUp(t);
  kit.setAway(true);
  kit.endWatch();
  const informer = startInformer<Fact, string>({
    api: kit.api,
    path: '/api/v1/namespaces/apps/others',
    labelSelector: '',
    keep: () => '',
    onChange: () => undefined,
    log: silentLog,
    clock: systemClock,
  });
  const stop = new AbortController();
  const leaves = assert.rejects(informer.synced(stop.signal), { code: 'cancelled' });
  const stays = assert.rejects(informer.synced(new AbortController().signal), { code: 'cancelled' });
  stop.abort();
  await leaves;
  await informer.close();
  await stays;
});

test('a refusal carries the status and the words of the API server', async (t) => {
  const server = createServer((_request, response) => {
    response.writeHead(409).end(JSON.stringify({ kind: 'Status', reason: 'Conflict', message: 'changed meanwhile' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const api = createKubeApi({
    access: {
      server: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
      namespace: undefined,
      credentials: () => Promise.resolve({ headers: {}, tls: {} }),
    },
  });
  t.after(async () => {
    await api.close();
    server.close();
  });
  const { signal } = new AbortController();
  const error: unknown = await api.request({ method: 'GET', path: '/x', signal }).catch((cause: unknown) => cause);
  assert.ok(isStatus(error, 409));
  assert.match(String(error), /changed meanwhile/);
});
