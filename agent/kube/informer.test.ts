/** The informer and its transport against a real HTTP server that speaks as the API server does. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test, type TestContext } from 'node:test';
import type { Kinds } from './kinds.ts';
import { silentLog } from '../../shared/log.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { startInformer } from './informer.ts';
import { connectTo, serve } from './testing/local-api.ts';

async function setUp(t: TestContext) {
  let objects: Kinds['ConfigMap'][] = [];
  let revision = '1';
  let away = false;
  const lists: string[] = [];
  const watches: { readonly from: string | null; readonly response: ServerResponse }[] = [];
  const waiting: (() => void)[] = [];
  const told = (): void => waiting.splice(0).forEach((wake) => wake());

  const server = await serve(t, (request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (away) {
      request.socket.destroy();
    } else if (url.searchParams.get('watch') === 'true') {
      response.writeHead(200).flushHeaders();
      watches.push({ from: url.searchParams.get('resourceVersion'), response });
    } else {
      lists.push(`${url.searchParams.get('labelSelector') ?? ''} ${request.headers.authorization ?? ''}`);
      const half = Math.ceil(objects.length / 2);
      const second = url.searchParams.get('continue') === 'half';
      // Two pages, as with `limit`.
      response.end(
        JSON.stringify({
          apiVersion: 'v1',
          kind: 'ConfigMapList',
          metadata: { resourceVersion: revision, ...(second || objects.length < 2 ? {} : { continue: 'half' }) },
          items: second ? objects.slice(half) : objects.slice(0, Math.max(1, half)),
        }),
      );
    }
    told();
  });
  const api = connectTo(t, server, { token: 't0ken' });
  const changes: string[] = [];
  const informer = startInformer({
    api,
    kind: 'ConfigMap',
    namespace: 'apps',
    labelSelector: 'ours=yes',
    keep: (object) => object.data?.['word'] ?? '',
    onChange({ type, name, value }) {
      changes.push(`${type} ${name} ${value}`);
      told();
    },
    log: silentLog,
    clock: systemClock,
  });
  t.after(async () => {
    await informer.close();
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
  const thing = (name: string, word: string, resourceVersion = '1'): Kinds['ConfigMap'] => ({
    metadata: { name, resourceVersion },
    data: { word },
  });
  return {
    api,
    informer,
    changes,
    lists,
    watches,
    until,
    thing,
    set: (next: Kinds['ConfigMap'][], at: string) => {
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
  await assert.rejects(kit.api.read('Pod', { namespace: 'apps', name: 'p' }, { signal: AbortSignal.timeout(5_000) }), {
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
  const informer = startInformer({
    api: kit.api,
    kind: 'Secret',
    namespace: 'apps',
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
