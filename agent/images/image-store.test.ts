import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import type { ImageUse } from '../store/build-store.ts';
import { isDone } from '../testing/versions.ts';
import { digestOf, ground, runOf, until } from '../testing/images.ts';

const never = new AbortController().signal;
const tagOf = (number: number): string => String(number).padStart(40, '0');

/** `count` images of app a, version 1 … count; the newest is live. Two versions are kept. */
async function imagesOf(t: TestContext, count: number) {
  const g = await ground(t);
  const at = (number: number): string => `2026-01-01T00:00:${String(number).padStart(2, '0')}.000Z`;
  for (let number = 1; number <= count; number += 1) {
    const tag = tagOf(number);
    g.pushed.set(tag, digestOf(tag));
    g.store.rows.set(tag, {
      tag,
      app: 'a',
      version: number,
      builder: 'fake',
      state: 'succeeded',
      imageDigest: digestOf(tag),
      failure: null,
      logs: [],
      queuedAt: at(number),
      startedAt: at(number),
      endedAt: at(number),
    });
    g.store.usesNow.push(use(number, { inUse: number === count, rank: count + 1 - number }));
  }
  const tags = (): string[] => [...g.pushed.keys()];
  return { ...g, tags };
}

function use(number: number, more: Partial<ImageUse>): ImageUse {
  return {
    app: 'a',
    version: number,
    tag: tagOf(number),
    digest: digestOf(tagOf(number)),
    inUse: false,
    rank: 1,
    ...more,
  };
}

test('pruning keeps the newest versions, deletes the others, and says so', async (t) => {
  const g = await imagesOf(t, 5);
  const dry = await g.images.prune({ dryRun: true }, never);
  assert.equal(g.deleted.length, 0);
  const pruned = await g.images.prune({ dryRun: false, actor: 'someone' }, never);
  assert.deepEqual(pruned, dry);
  assert.deepEqual(g.tags(), [tagOf(4), tagOf(5)]);
  assert.deepEqual(
    g.store.events.map(({ actor, app, version, kind }) => ({ actor, app, version, kind })),
    [1, 2, 3].map((version) => ({ actor: 'someone', app: 'a', version, kind: 'image.pruned' })),
  );
  assert.deepEqual(await g.images.prune({ dryRun: false, keep: 1 }, never).then((all) => all.map(({ tag }) => tag)), [
    tagOf(4),
  ]);
});

test('an image that an old version in use has, of whatever app, stays', async (t) => {
  const g = await imagesOf(t, 5);
  g.store.usesNow.push(use(1, { app: 'b', version: 9, inUse: true, rank: 40 }));
  g.store.usesNow.push(use(2, { app: 'c', version: 3, rank: 2 }));
  await g.images.prune({ dryRun: false }, never);
  assert.deepEqual(g.tags(), [1, 2, 4, 5].map(tagOf));
});

test('a digest that a kept tag, an unknown tag or a running version shares stays', async (t) => {
  const g = await imagesOf(t, 6);
  g.pushed.set(tagOf(1), digestOf(tagOf(6)));
  g.pushed.set('latest', digestOf(tagOf(2)));
  g.store.usesNow.push(use(0, { app: 'by-digest', tag: null, digest: digestOf(tagOf(3)), inUse: true, rank: 1 }));
  await g.images.prune({ dryRun: false }, never);
  assert.deepEqual(g.tags(), [...[1, 2, 3, 5, 6].map(tagOf), 'latest']);
});

test('two tags of one digest that both may go make one deletion', async (t) => {
  const g = await imagesOf(t, 5);
  g.pushed.set(tagOf(2), digestOf(tagOf(1)));
  const pruned = await g.images.prune({ dryRun: false }, never);
  assert.equal(pruned.length, 3);
  assert.deepEqual(g.deleted, [digestOf(tagOf(1)), digestOf(tagOf(3))]);
});

test('images of others in the same registry are neither listed nor deleted', async (t) => {
  const g = await imagesOf(t, 1);
  g.pushed.set(tagOf(77), digestOf(tagOf(77)));
  g.pushed.set('v1', digestOf('v1'));
  assert.deepEqual(
    (await g.images.list({}, never)).map(({ tag }) => tag),
    [tagOf(1)],
  );
  await g.images.prune({ dryRun: false, keep: 1 }, never);
  assert.equal(g.deleted.length, 0);
});

test('an image that was handed out a moment ago stays though no record says so yet', async (t) => {
  const g = await imagesOf(t, 0);
  const asked = g.ask(runOf('a', 1, 'c1'));
  (await g.builder.begun(1)).finish();
  const { imageTag } = await asked.result;
  await until(() => g.store.rows.get(imageTag)?.state === 'succeeded', 'its row');
  await g.images.prune({ dryRun: false, keep: 1 }, never);
  assert.deepEqual(g.tags(), [imageTag]);
  const [listed] = await g.images.list({}, never);
  assert.equal(listed?.inUse, true);
});

test('an image that is looked for while pruning goes on is either there for good or built again', async (t) => {
  const g = await imagesOf(t, 0);
  const asked = g.ask(runOf('a', 1, 'c1'));
  (await g.builder.begun(1)).finish();
  const { imageTag } = await asked.result;
  await until(() => g.store.rows.get(imageTag)?.state === 'succeeded', 'its row');
  // Long ago, and its app is gone.
  g.clock.advance(20 * 60_000);
  const began = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  g.registry.deleteManifest = async () => {
    began.resolve();
    await gate.promise;
    g.pushed.clear();
  };
  const pruning = g.images.prune({ dryRun: false }, never);
  await began.promise;
  const again = g.ask(runOf('b', 1, 'c1'));
  assert.equal(await isDone(again.result), false);
  gate.resolve();
  await pruning;
  (await g.builder.begun(2)).finish();
  assert.equal((await again.result).imageTag, imageTag);
  assert.deepEqual(g.tags(), [imageTag]);
});

test('a registry that does not allow deletion says so', async (t) => {
  const g = await imagesOf(t, 5);
  g.registry.deleteManifest = () => Promise.reject(new AppError('image_denied', 'it does not allow deletion'));
  await assert.rejects(g.images.prune({ dryRun: false }, never), { code: 'image_denied' });
});

test('the leader prunes by itself, hourly and after builds, and stops when it does not lead', async (t) => {
  const g = await imagesOf(t, 5);
  g.clock.advance(60_000);
  await until(() => g.deleted.length === 3, 'the first round');
  g.store.usesNow.forEach((one, i) => (g.store.usesNow[i] = { ...one, rank: one.rank + 1 }));
  g.clock.advance(1_800_000);
  assert.equal(g.deleted.length, 3);
  await until(() => {
    g.clock.advance(600_000);
    return g.deleted.length === 4;
  }, 'the next round');
  g.images.releaseLead();
  g.store.usesNow.length = 0;
  g.clock.advance(7_200_000);
  assert.equal(await isDone(g.images.close()), true);
  assert.equal(g.deleted.length, 4);
});

test('a registry that fails in the middle of pruning is asked no more', async (t) => {
  const g = await imagesOf(t, 100);
  let asked = 0;
  g.registry.exists = async (image) => {
    asked += 1;
    if (asked === 5) throw new AppError('registry_unavailable', 'away', { phase: 'build' });
    await new Promise(setImmediate);
    return g.pushed.get(image.slice(-40));
  };
  await assert.rejects(g.images.prune({ dryRun: true }, never), { code: 'registry_unavailable' });
  const when = asked;
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  assert.equal(asked, when, 'nothing goes on behind the failure');
});
