/** Images with their rows on a real Postgres: what one agent leaves to the next. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createAppStore } from '../../../agent/store/app-store.ts';
import { createBuildStore } from '../../../agent/store/build-store.ts';
import { createEventStore } from '../../../agent/store/event-store.ts';
import { migrate } from '../../../agent/store/migrate.ts';
import type { VersionRun } from '../../../agent/platform/platform.ts';
import { appRecord, defaults, versionRecord } from '../../../agent/testing/versions.ts';
import { eventually } from '../../../shared/wait/testing/eventually.ts';
import { ground, runOf, until } from '../../../agent/testing/images.ts';
import { openTestDatabase } from '../database.ts';

const never = new AbortController().signal;
const nothing = { created: [], updated: [], deleted: [], events: [] };

async function openStores(t: TestContext) {
  const db = await openTestDatabase(t);
  await migrate(db);
  const apps = createAppStore({ db });
  return {
    apps,
    epoch: await apps.takeLead('one'),
    builds: createBuildStore({ db }),
    events: createEventStore({ db }),
  };
}
type Stores = Awaited<ReturnType<typeof openStores>>;

async function declare({ apps, epoch }: Stores, app: string, count: number): Promise<void> {
  const versions = Array.from({ length: count }, (_, i) =>
    versionRecord(i + 1, { spec: runOf(app, i + 1, `c${i}`).spec, imageDigest: null, sourceDigest: `git:c${i}` }),
  );
  const record = appRecord(versions, { name: app, path: `/${app}`, good: null, kept: null });
  await apps.declare(epoch, { ...nothing, created: [record] });
}

/** The versions that may run, as the engine gives them to a new leader. */
async function runsOf({ apps }: Stores): Promise<VersionRun[]> {
  return (await apps.load()).flatMap((app) =>
    [...app.versions.values()]
      .filter(({ version }) => [app.live, app.pending, app.good, app.kept].includes(version))
      .map(({ version, spec, imageDigest, sourceDigest, imageTag }) => ({
        app: app.name,
        version,
        spec,
        config: defaults,
        pin: { imageDigest, sourceDigest, imageTag },
      })),
  );
}

test('200 calls for new images of 20 apps make as many builds as there are images, each with one row', async (t) => {
  const stores = await openStores(t);
  const g = await ground(t, { rows: stores.builds, maxRunning: 4 });
  const asked = Array.from({ length: 200 }, (_, i) => g.ask(runOf(`app${i % 20}`, 1, `c${i % 5}`)));
  for (let i = 1; i <= 5; i += 1) (await g.builder.begun(i)).finish();
  const tags = new Set((await Promise.all(asked.map(({ result }) => result))).map(({ imageTag }) => imageTag));
  assert.equal(tags.size, 5);
  assert.equal(g.builder.builds.length, 5);
  await eventually(10_000, async () => {
    const builds = await stores.builds.list({ limit: 100 });
    assert.deepEqual(new Set(builds.map(({ tag }) => tag)), tags);
    assert.ok(builds.every(({ state }) => state === 'succeeded'));
  });
});

test('the lines of a build are read from Postgres by an agent that never saw it', async (t) => {
  const stores = await openStores(t);
  await declare(stores, 'b', 2);
  const one = await ground(t, { rows: stores.builds });
  const first = one.ask(runOf('a', 1, 'c1'));
  const build = await one.builder.begun(1);
  // Asked later, so that the build is that of a: two that ask at once may find its tag in either order.
  const asked = [first, one.ask(runOf('b', 2, 'c1'))];
  await until(() => asked.every(({ phases }) => phases.length > 1), 'both wait');
  build.options.onLine('RUN npm ci');
  build.finish();
  await Promise.all(asked.map(({ result }) => result));
  await one.images.close();

  const two = await ground(t, { rows: stores.builds });
  const lines: string[] = [];
  const query = { app: 'b', version: 2, tail: 1, follow: true };
  const view = await two.images.logs(query, async ({ line }) => void lines.push(line), never);
  assert.deepEqual(lines, ['RUN npm ci']);
  assert.equal(view.state, 'succeeded');
  assert.equal(view.app, 'a');
  assert.equal((await two.images.builds({ app: 'b', limit: 10 })).length, 1);
});

test('a build that one app began and another joined goes on for that one under the next leader', async (t) => {
  const stores = await openStores(t);
  await declare(stores, 'b', 1);
  const one = await ground(t, { rows: stores.builds });
  const asked = [one.ask(runOf('gone', 1, 'c0')), one.ask(runOf('b', 1, 'c0'))];
  const { tag } = (await one.builder.begun(1)).request;
  await until(() => asked.every(({ phases }) => phases.length > 1), 'both wait');
  await eventually(10_000, async () => assert.equal((await stores.apps.version('b', 1))?.imageTag, tag));
  await eventually(10_000, async () => assert.equal((await stores.builds.unfinished()).length, 1));
  one.images.releaseLead();

  const two = await ground(t, { rows: stores.builds, leads: false });
  two.builder.underWayTags = [tag];
  const runs = await runsOf(stores);
  await two.images.adopt(runs, never);
  assert.deepEqual(two.builder.cancelled, []);
  const again = two.ask(runs[0]!);
  (await two.builder.begun(1)).finish();
  assert.equal((await again.result).imageTag, tag);
  await eventually(10_000, async () => assert.equal((await stores.builds.find('b', 1))?.state, 'succeeded'));
});

test('pruning leaves what is live, pending, good and kept, and the newest; the rest goes, with an event each', async (t) => {
  const stores = await openStores(t);
  await declare(stores, 'a', 7);
  const g = await ground(t, { rows: stores.builds });
  const tags: string[] = [];
  for (let version = 1; version <= 7; version += 1) {
    const asked = g.ask(runOf('a', version, `c${version}`));
    (await g.builder.begun(version)).finish();
    const { imageTag, imageDigest } = await asked.result;
    tags.push(imageTag);
    const good = [1, 3, 5].includes(version) ? ({ outcome: 'good' } as const) : {};
    const learnt = { number: version, imageTag, imageDigest, ...good };
    await stores.apps.record(stores.epoch, { app: 'a', version: learnt, events: [] });
  }
  // Live is 2 (rolled back), pending 4, good 3, so that 5 is kept.
  const pointers = { live: 2, pending: 4, good: 3, generation: 1 };
  await stores.apps.record(stores.epoch, { app: 'a', pointers, events: [] });
  await eventually(10_000, async () => assert.equal((await stores.builds.built()).length, 7));
  const pruned = await g.images.prune({ keep: 1, dryRun: false, actor: 'someone' }, never);
  assert.deepEqual(new Set(pruned.map(({ versions }) => versions[0]?.version)), new Set([1, 6]));
  assert.deepEqual(new Set(g.pushed.keys()), new Set([1, 2, 3, 4, 6].map((index) => tags[index])));
  const events = await stores.events.list({ app: 'a', limit: 10 });
  const told = events.map(({ kind, version, actor }) => `${kind} v${version} by ${actor}`);
  assert.deepEqual(new Set(told), new Set(['image.pruned v1 by someone', 'image.pruned v6 by someone']));
  assert.equal((await g.images.list({ app: 'a' }, never)).length, 5);
});
