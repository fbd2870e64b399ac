/** Rows of builds on a real Postgres. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createAppStore } from '../../../agent/store/app-store.ts';
import { createBuildStore, type BuildRecord } from '../../../agent/store/build-store.ts';
import { createEventStore } from '../../../agent/store/event-store.ts';
import { migrate } from '../../../agent/store/migrate.ts';
import { appRecord, specOf, versionRecord } from '../../../agent/testing/versions.ts';
import { openTestDatabase } from '../database.ts';

const at = (second: number): string => `2026-01-02T03:04:${String(second).padStart(2, '0')}.000Z`;
const nothing = { created: [], updated: [], deleted: [], events: [] };

function build(tag: string, more: Partial<BuildRecord> = {}): BuildRecord {
  return {
    tag,
    app: 'a',
    version: 1,
    builder: 'kaniko',
    state: 'running',
    imageDigest: null,
    failure: null,
    logs: ['one', 'two'],
    queuedAt: at(1),
    startedAt: at(2),
    endedAt: null,
    ...more,
  };
}

const succeeded = { state: 'succeeded', imageDigest: 'sha256:1', endedAt: at(3) } as const;

async function ground(t: TestContext) {
  const db = await openTestDatabase(t);
  await migrate(db);
  const apps = createAppStore({ db });
  const epoch = await apps.takeLead('one');
  return { db, apps, epoch, builds: createBuildStore({ db }), events: createEventStore({ db }) };
}

/** App `a` with versions 1 … count, the newest live; app `b` with one. */
async function withApps(t: TestContext, count: number) {
  const g = await ground(t);
  const versions = Array.from({ length: count }, (_, i) =>
    versionRecord(i + 1, {
      spec: specOf({ image: undefined, source: 'https://git.example/a.git' }),
      imageDigest: null,
      outcome: i < count - 1 ? 'good' : 'declared',
    }),
  );
  const a = appRecord(versions, { live: count, good: count - 1 });
  const b = appRecord([versionRecord(1, { imageDigest: 'sha256:by-hand' })], { name: 'b', path: '/b' });
  await g.apps.declare(g.epoch, { ...nothing, created: [a, b] });
  return g;
}

test('a build comes back as it was written, by app, by version and with its lines', async (t) => {
  const { builds } = await ground(t);
  const { logs, ...view } = build('t1', {
    ...succeeded,
    state: 'failed',
    failure: { code: 'build_failed', phase: 'build', owner: 'app', message: 'RUN', logs: ['x'], at: at(3) },
  });
  await builds.save({ ...view, logs });
  await builds.save(build('t2', { app: 'b', queuedAt: at(9) }));
  assert.deepEqual(await builds.list({ app: 'a', limit: 10 }), [view]);
  assert.deepEqual(
    (await builds.list({ limit: 10 })).map(({ tag }) => tag),
    ['t2', 't1'],
  );
  assert.equal((await builds.list({ limit: 1 })).length, 1);
  assert.deepEqual(await builds.find('a', 1), { ...view, logs });
  assert.equal(await builds.find('a', 2), undefined);
  assert.deepEqual(
    (await builds.unfinished()).map(({ tag }) => tag),
    ['t2'],
  );
});

test('what an earlier leader writes late does not undo what has ended or begun anew', async (t) => {
  const { builds } = await ground(t);
  await builds.save(build('t1', succeeded));
  await builds.save(build('t1'));
  assert.equal((await builds.find('a', 1))?.state, 'succeeded');
  await builds.save(build('t1', { queuedAt: at(20), state: 'queued', startedAt: null }));
  await builds.save(build('t1', succeeded));
  assert.equal((await builds.find('a', 1))?.state, 'queued');
});

test('a version that joins the build of another app finds it, also before the image is there', async (t) => {
  const { builds, apps } = await withApps(t, 3);
  await builds.save(build('t1', { app: 'elsewhere' }));
  await builds.want('a', 3, 't1');
  assert.equal((await builds.find('a', 3))?.tag, 't1');
  assert.equal((await builds.find('a', undefined))?.tag, 't1');
  assert.equal(await builds.find('a', 2), undefined);
  assert.deepEqual(
    (await builds.list({ app: 'a', limit: 10 })).map(({ tag }) => tag),
    ['t1'],
  );
  const [newest] = await apps.versions('a', 1);
  assert.equal(newest?.imageTag, 't1');
  assert.equal(newest.imageDigest, null);
});

test('a wish does not change which image a version has', async (t) => {
  const { builds, apps, epoch } = await withApps(t, 1);
  await apps.record(epoch, { app: 'a', version: { number: 1, imageDigest: 'sha256:1', imageTag: 't1' }, events: [] });
  await builds.want('a', 1, 't2');
  assert.equal((await apps.version('a', 1))?.imageTag, 't1');
});

test('uses say which versions have an image, which of them are in use, and how new they are', async (t) => {
  const { builds, apps, epoch } = await withApps(t, 6);
  for (const number of [1, 3, 4, 5]) {
    const version = { number, imageDigest: `sha256:${number}`, imageTag: `t${number}` };
    await apps.record(epoch, { app: 'a', version, events: [] });
  }
  await builds.want('a', 6, 't6');
  const uses = (await builds.uses()).toSorted((a, b) => a.rank - b.rank || (a.app < b.app ? -1 : 1));
  // Good is 5, kept is 4, live is 6; of b only the digest is known.
  assert.deepEqual(
    uses.map(({ app, version, tag, digest, inUse, rank }) => [app, version, tag, digest, inUse, rank]),
    [
      ['a', 6, 't6', null, true, 1],
      ['b', 1, null, 'sha256:by-hand', true, 1],
      ['a', 5, 't5', 'sha256:5', true, 2],
      ['a', 4, 't4', 'sha256:4', true, 3],
      ['a', 3, 't3', 'sha256:3', false, 4],
      ['a', 1, 't1', 'sha256:1', false, 6],
    ],
  );
});

test('after a while a build that stays has no lines any more', async (t) => {
  const { builds, db } = await ground(t);
  await builds.save(build('t1', { ...succeeded, logs: ['one', 'two'] }));
  await db.query('update builds set ended_at = now()');
  assert.equal(await builds.forget(30), 0);
  assert.equal((await builds.find('a', 1))?.logs.length, 2);
  await db.query(`update builds set ended_at = now() - interval '31 days'`);
  assert.equal(await builds.forget(30), 0);
  assert.deepEqual((await builds.find('a', 1))?.logs, []);
  assert.equal((await builds.built()).length, 1);
});

test('a pruned image is built no more, its event is told, and its build is forgotten in time', async (t) => {
  const { builds, events, db } = await ground(t);
  await builds.save(build('t1', succeeded));
  assert.equal((await builds.built()).length, 1);
  const event = { actor: 'holdfast', app: 'a', version: 1, kind: 'image.pruned', message: 't1' };
  await builds.pruned('t1', event);
  assert.deepEqual(await builds.built(), []);
  assert.equal((await events.list({ app: 'a', limit: 1 }))[0]?.kind, 'image.pruned');
  assert.equal((await builds.find('a', 1))?.state, 'succeeded');
  await db.query(`update builds set ended_at = now() - interval '20 days'`);
  assert.equal(await builds.forget(30), 0);
  assert.equal(await builds.forget(10), 1);
});
