import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { turns } from '../../shared/wait/testing/until.ts';
import { isDone } from '../testing/versions.ts';
import { away, digestOf, ground, repository, runOf, until } from '../testing/images.ts';

const never = new AbortController().signal;
const broken = new AppError('build_failed', 'RUN npm ci: exit code 1', { phase: 'build' });

test('200 who ask at once for one image, of many apps, make one build', async (t) => {
  const g = await ground(t);
  const asked = Array.from({ length: 200 }, (_, i) => g.ask(runOf(`app${i % 20}`, i + 1, 'c1')));
  (await g.builder.begun(1)).finish();
  const images = await Promise.all(asked.map(({ result }) => result));
  assert.equal(g.builder.builds.length, 1);
  const { tag, image } = g.builder.builds[0]!.request;
  assert.equal(image, `${repository}:${tag}`);
  for (const one of images) assert.deepEqual(one, { imageTag: tag, imageDigest: digestOf(tag) });
  assert.equal(g.sources.onDisk, 0);
  assert.deepEqual(g.ended, ['succeeded']);
});

test('what the registry has is neither built nor recorded as a build', async (t) => {
  const g = await ground(t);
  const first = g.ask(runOf('a', 1, 'c1'));
  (await g.builder.begun(1)).finish();
  const made = await first.result;
  assert.deepEqual(await g.ask(runOf('b', 7, 'c1')).result, made);
  assert.equal(g.builder.builds.length, 1);
  assert.equal(g.store.rows.size, 1);
});

test('a version whose tag is known touches no source when the registry has it', async (t) => {
  const g = await ground(t);
  g.sources.error = new AppError('source_unavailable', 'the git server is away');
  const tag = 'f'.repeat(40);
  g.pushed.set(tag, digestOf(tag));
  g.store.usesNow.push({ app: 'b', version: 3, tag, digest: digestOf(tag), inUse: true, rank: 1 });
  const run = runOf('a', 1, 'c1');
  const made = await g.ask({ ...run, pin: { ...run.pin, imageTag: tag } }).result;
  assert.deepEqual(made, { imageTag: tag, imageDigest: digestOf(tag) });
});

test('an image that somebody else pushed under the tag is not taken: it is built again', async (t) => {
  const g = await ground(t);
  const planted = `sha256:${'6'.repeat(64)}`;
  const first = g.ask(runOf('a', 1, 'c1'));
  const build = await g.builder.begun(1);
  build.finish();
  const { imageTag: tag } = await first.result;
  // A step of another build that found a login pushes over the tag; the records of the first build are written.
  g.pushed.set(tag, planted);
  const again = g.ask(runOf('b', 1, 'c1'));
  (await g.builder.begun(2)).finish();
  assert.deepEqual(await again.result, { imageTag: tag, imageDigest: digestOf(tag) });
  // The same for a version whose digest was cleared because its image could not be pulled.
  g.pushed.set(tag, planted);
  const run = runOf('a', 1, 'c1');
  const woken = g.ask({ ...run, pin: { ...run.pin, imageTag: tag } });
  (await g.builder.begun(3)).finish();
  assert.deepEqual(await woken.result, { imageTag: tag, imageDigest: digestOf(tag) });
});

test('an image under a tag that was never built here is not taken', async (t) => {
  const g = await ground(t);
  const first = g.ask(runOf('a', 1, 'c1'));
  const build = await g.builder.begun(1);
  const { tag } = build.request;
  first.leave();
  await assert.rejects(first.result);
  g.pushed.set(tag, `sha256:${'6'.repeat(64)}`);
  const next = g.ask(runOf('a', 2, 'c1'));
  (await g.builder.begun(2)).finish();
  assert.equal((await next.result).imageDigest, digestOf(tag));
});

test('one who leaves cancels nothing while another waits; the last who leaves cancels, and can ask again', async (t) => {
  const g = await ground(t);
  const [first, second] = [g.ask(runOf('a', 1, 'c1')), g.ask(runOf('b', 1, 'c1'))];
  const build = await g.builder.begun(1);
  await until(() => second.phases.length > 1, 'the second waits too');
  first.leave();
  await assert.rejects(first.result, { code: 'superseded' });
  await turns();
  assert.equal(build.options.signal.aborted, false);
  second.leave();
  await assert.rejects(second.result, { code: 'superseded' });
  const again = g.ask(runOf('a', 2, 'c1'));
  (await g.builder.begun(2)).finish();
  await again.result;
  assert.deepEqual(g.builder.cancelled, [build.request.tag]);
  assert.deepEqual(g.ended, ['cancelled', 'succeeded']);
});

test('one who joins is told where the build is', async (t) => {
  const g = await ground(t);
  g.ask(runOf('a', 1, 'c1'));
  (await g.builder.begun(1)).options.onPhase('Job hf-build-1 runs');
  const second = g.ask(runOf('b', 1, 'c1'));
  await until(() => second.phases.includes('build: Job hf-build-1 runs'), 'progress');
});

test('when the lead is lost nothing is cancelled and nobody is told of a failure', async (t) => {
  const g = await ground(t);
  const waiting = g.ask(runOf('a', 1, 'c1'));
  const build = await g.builder.begun(1);
  await turns();
  g.images.releaseLead();
  assert.equal(build.options.signal.aborted, true);
  assert.equal(await isDone(waiting.result), false);
  const late = g.ask(runOf('b', 1, 'c2'));
  assert.equal(await isDone(late.result), false);
  waiting.leave();
  await assert.rejects(waiting.result, { code: 'superseded' });
  await turns();
  assert.deepEqual(g.builder.cancelled, []);
  assert.equal(g.builder.builds.length, 1);
  assert.equal(g.store.rows.get(build.request.tag)?.state, 'running');
  late.leave();
});

test('one who leaves in the moment the lead is lost cancels nothing', async (t) => {
  const g = await ground(t);
  const waiting = g.ask(runOf('a', 1, 'c1'));
  await g.builder.begun(1);
  waiting.leave();
  g.images.releaseLead();
  await assert.rejects(waiting.result, { code: 'superseded' });
  await turns();
  assert.deepEqual(g.builder.cancelled, []);
});

test('a new leader joins a build that is wanted and cancels the others', async (t) => {
  const old = await ground(t);
  old.ask(runOf('a', 1, 'c1'));
  const one = await old.builder.begun(1);
  old.ask(runOf('b', 1, 'c2'));
  const two = await old.builder.begun(2);
  await until(() => old.store.rows.size === 2, 'two rows');
  old.images.releaseLead();

  const g = await ground(t, { leads: false, maxRunning: 1 });
  for (const row of old.store.rows.values()) g.store.rows.set(row.tag, row);
  g.builder.underWayTags = [one.request.tag, two.request.tag];
  await g.images.adopt([runOf('a', 1, 'c1')], never);
  assert.deepEqual(g.builder.cancelled, [two.request.tag]);
  const other = g.ask(runOf('c', 1, 'c3'));
  await g.builder.begun(1);
  // It is going on already: it does not wait for its turn.
  const again = g.ask(runOf('a', 1, 'c1'));
  (await g.builder.begun(2)).finish();
  assert.equal((await again.result).imageTag, one.request.tag);
  await turns();
  assert.equal(g.store.rows.get(one.request.tag)?.queuedAt, old.store.rows.get(one.request.tag)?.queuedAt);
  assert.equal(g.store.rows.get(two.request.tag)?.state, 'cancelled');
  other.leave();
});

test('a new leader that cannot read the rows cancels nothing', async (t) => {
  const g = await ground(t, { leads: false });
  g.builder.underWayTags = ['e'.repeat(40)];
  g.store.unfinished = () => Promise.reject(new AppError('store_unavailable', 'Postgres is away'));
  await g.images.adopt([], never);
  assert.deepEqual(g.builder.cancelled, []);
});

test('rows of builds that ended while nobody led are corrected', async (t) => {
  const old = await ground(t);
  old.ask(runOf('a', 1, 'c1'));
  const done = await old.builder.begun(1);
  old.ask(runOf('b', 1, 'c2'));
  const lost = await old.builder.begun(2);
  old.ask(runOf('c', 1, 'c3'));
  await until(() => old.store.rows.size === 3, 'three rows');
  old.images.releaseLead();

  const g = await ground(t, { leads: false });
  for (const row of old.store.rows.values()) g.store.rows.set(row.tag, row);
  g.pushed.set(done.request.tag, digestOf(done.request.tag));
  await g.images.adopt([], never);
  await until(() => [...g.store.rows.values()].every(({ endedAt }) => endedAt !== null), 'all rows ended');
  const states = new Map([...g.store.rows.values()].map((row) => [row.app, row]));
  assert.equal(states.get('a')?.imageDigest, null, 'nobody heard the builder say which image it made');
  assert.equal(states.get('b')?.failure?.code, 'builder_unavailable');
  assert.equal(states.get('b')?.tag, lost.request.tag);
  assert.equal(states.get('c')?.state, 'cancelled');
});

test('a row whose image is asked for while rows are corrected is left to its build', async (t) => {
  const old = await ground(t);
  old.ask(runOf('a', 1, 'c1'));
  const { tag } = (await old.builder.begun(1)).request;
  await until(() => old.store.rows.size === 1, 'a row');
  old.images.releaseLead();

  const g = await ground(t, { leads: false });
  for (const row of old.store.rows.values()) g.store.rows.set(row.tag, row);
  const [asked, answer] = [Promise.withResolvers<void>(), Promise.withResolvers<string[]>()];
  let looks = 0;
  // The first look is that of the adoption, the second that of the correction.
  g.builder.underWay = async () => {
    looks += 1;
    if (looks === 1) return [];
    asked.resolve();
    return await answer.promise;
  };
  await g.images.adopt([], never);
  await asked.promise;
  const again = g.ask(runOf('a', 1, 'c1'));
  const build = await g.builder.begun(1);
  answer.resolve([]);
  await turns();
  assert.equal(g.store.rows.get(tag)?.endedAt, null, 'its build goes on');
  build.finish();
  await again.result;
});

test('a failure that passes is tried again, and those who wait are told', async (t) => {
  const g = await ground(t);
  g.registry.error = away;
  const asked = g.ask(runOf('a', 1, 'c1'));
  await until(() => asked.phases.some((phase) => phase.startsWith('queued: registry_unavailable')), 'the failure');
  g.registry.error = undefined;
  g.clock.advance(1_000);
  (await g.builder.begun(1)).fail(new AppError('builder_unavailable', 'the node is gone', { phase: 'build' }));
  await until(() => asked.phases.some((phase) => phase.includes('the node is gone')), 'the second failure');
  g.clock.advance(2_000);
  (await g.builder.begun(2)).finish();
  await asked.result;
});

test('a failure that does not pass in time is a clear failure, with the last lines, and is not remembered', async (t) => {
  const g = await ground(t, { retryMs: 3_000 });
  const asked = g.ask(runOf('a', 1, 'c1'));
  const build = await g.builder.begun(1);
  for (let i = 0; i < 300; i += 1) build.options.onLine(`line ${i}`);
  g.registry.error = away;
  build.fail(away);
  for (let i = 0; i < 20; i += 1) {
    await turns();
    g.clock.advance(1_000);
  }
  await assert.rejects(asked.result, (error: AppError) => {
    assert.equal(error.code, 'registry_unavailable');
    assert.match(error.message, /away \(tried \d times in 3 s\)/);
    assert.deepEqual((error.data?.['logs'] as string[] | undefined)?.length, 50);
    return true;
  });
  g.registry.error = undefined;
  const again = g.ask(runOf('a', 1, 'c1'));
  (await g.builder.begun(2)).finish();
  await again.result;
  assert.deepEqual(g.ended, ['failed', 'succeeded']);
});

test('a git server that is away is waited for, and a source that is refused is told at once', async (t) => {
  const g = await ground(t);
  g.sources.error = new AppError('source_unavailable', 'the git server is away');
  const asked = g.ask(runOf('a', 1, 'c1'));
  await until(() => asked.phases.some((phase) => phase.includes('git server is away')), 'the failure');
  g.sources.error = new AppError('source_invalid', 'too many files');
  g.clock.advance(1_000);
  await assert.rejects(asked.result, { code: 'source_invalid', phase: 'source' });
});

test('a broken Dockerfile fails all who wait at once', async (t) => {
  const g = await ground(t);
  const asked = [g.ask(runOf('a', 1, 'c1')), g.ask(runOf('b', 1, 'c1'))];
  const build = await g.builder.begun(1);
  await until(() => asked.every(({ phases }) => phases.length > 1), 'both wait');
  build.fail(broken);
  for (const { result } of asked) await assert.rejects(result, { code: 'build_failed', phase: 'build' });
  const [view] = await g.images.builds({ app: 'a', limit: 10 });
  assert.equal(view?.state, 'failed');
  assert.equal(view?.failure?.message, broken.message);
});

test('an image that the registry does not have after all is built again, another one is an error', async (t) => {
  const g = await ground(t);
  const asked = g.ask(runOf('a', 1, 'c1'));
  const first = await g.builder.begun(1);
  first.finish();
  g.pushed.clear();
  await until(() => g.builder.cancelled.length === 1, 'the end of the first');
  await turns();
  g.clock.advance(1_000);
  const second = await g.builder.begun(2);
  second.finish();
  g.pushed.set(second.request.tag, `sha256:${'9'.repeat(64)}`);
  await assert.rejects(asked.result, { code: 'build_failed', message: /something else pushes this tag/ });
});

test('a build that many more want than may run waits in a fair queue and is told its place', async (t) => {
  const g = await ground(t, { maxRunning: 1 });
  const asked = [g.ask(runOf('busy', 1, 'c1'))];
  await g.builder.begun(1);
  for (const [i, commit] of ['c2', 'c3'].entries()) {
    const next = g.ask(runOf('busy', i + 2, commit));
    asked.push(next);
    await until(() => next.phases.includes(`queued: build ${i + 1} of ${i + 1} in the queue`), 'its place');
  }
  const late = g.ask(runOf('late', 1, 'c4'));
  await until(() => late.phases.includes('queued: build 2 of 3 in the queue'), 'the place of another app');
  for (let i = 1; i <= 4; i += 1) (await g.builder.begun(i)).finish();
  await Promise.all([...asked, late].map(({ result }) => result));
  assert.deepEqual(
    g.builder.builds.map(({ request }) => `${request.app} v${request.version}`),
    ['busy v1', 'busy v2', 'late v1', 'busy v3'],
  );
  assert.equal(g.sources.onDisk, 0);
});

test('a queue that is full says when to come again', async (t) => {
  const g = await ground(t, { maxRunning: 1, maxQueued: 1 });
  g.ask(runOf('a', 1, 'c1'));
  await g.builder.begun(1);
  const second = g.ask(runOf('b', 1, 'c2'));
  await until(() => second.phases.includes('queued: build 1 of 1 in the queue'), 'the queue');
  await assert.rejects(g.ask(runOf('c', 1, 'c3')).result, (error: AppError) => {
    assert.equal(error.code, 'build_queue_full');
    assert.ok((error.retryAfterMs ?? 0) > 0);
    return true;
  });
});

test('builds go on while Postgres is away, and are recorded when it is back', async (t) => {
  const g = await ground(t);
  g.store.error = new AppError('store_unavailable', 'Postgres is away');
  const asked = g.ask(runOf('a', 1, 'c1'));
  const build = await g.builder.begun(1);
  build.options.onLine('hello');
  build.finish();
  const { imageTag } = await asked.result;
  const lines: string[] = [];
  await g.images.logs({ app: 'a', tail: 10, follow: false }, async ({ line }) => void lines.push(line), never);
  assert.ok(lines.includes('hello'));
  g.store.error = undefined;
  g.clock.advance(1_000);
  await until(() => g.store.rows.get(imageTag)?.state === 'succeeded', 'the row');
  assert.deepEqual(g.store.wants, [`a v1 ${imageTag}`]);
  assert.ok(g.store.rows.get(imageTag)?.logs.includes('hello'));
});

test('lines are followed to the end of the build, by every version that wants it', async (t) => {
  const g = await ground(t);
  g.ask(runOf('a', 1, 'c1'));
  const joined = g.ask(runOf('b', 3, 'c1'));
  const build = await g.builder.begun(1);
  build.options.onLine('one');
  await until(() => joined.phases.length > 1, 'the second is there');
  const lines: string[] = [];
  const query = { app: 'b', version: 3, tail: 1, follow: true };
  const followed = g.images.logs(query, async ({ line }) => void lines.push(line), never);
  await turns();
  build.options.onLine('two');
  build.finish();
  assert.equal((await followed).state, 'succeeded');
  assert.deepEqual(lines, ['one', 'two']);
  await assert.rejects(
    g.images.logs({ app: 'x', tail: 1, follow: true }, async () => undefined, never),
    { code: 'build_not_found' },
  );
});

test('who follows a version whose source is still being fetched gets the build that comes of it', async (t) => {
  const g = await ground(t);
  const gate = Promise.withResolvers<void>();
  g.sources.resolve = async () => {
    await gate.promise;
    return 'git:1';
  };
  const run = runOf('a', 1, 'c1');
  const asked = g.ask({ ...run, pin: { ...run.pin, sourceDigest: null } });
  const lines: string[] = [];
  const query = { app: 'a', tail: 10, follow: true };
  const followed = g.images.logs(query, async ({ line }) => void lines.push(line), never);
  gate.resolve();
  const build = await g.builder.begun(1);
  build.options.onLine('one');
  build.finish();
  await asked.result;
  assert.equal((await followed).state, 'succeeded');
  assert.ok(lines.includes('one'));
});

test('the builder gets the arguments of every build and of the app, and its secrets apart', async (t) => {
  const g = await ground(t);
  g.ask(runOf('a', 1, 'c1', { build: { args: { A: '1' }, target: 'final' }, build_secrets: { TOKEN: 'x' } }));
  const { request } = await g.builder.begun(1);
  assert.deepEqual(request.args, { HTTPS_PROXY: 'http://proxy.example', A: '1' });
  assert.deepEqual(request.secretArgs, { TOKEN: 'x' });
  assert.equal(request.target, 'final');
  assert.equal(request.dockerfile, 'Dockerfile');
});

test('a preset that is asked for adds its files, and where nothing fits the error says what is missing', async (t) => {
  const g = await ground(t);
  g.ask(runOf('a', 1, 'c1', { build: { preset: 'node' } }));
  const { request } = await g.builder.begun(1);
  assert.equal(request.dockerfile, 'Dockerfile.holdfast');
  assert.deepEqual(Object.keys(request.extraFiles), ['.dockerignore', 'Dockerfile.holdfast']);
  assert.match(request.extraFiles['Dockerfile.holdfast'] ?? '', /^FROM node:[^]*^CMD \["node", "server\.js"\]$/m);
  g.ask(runOf('c', 1, 'c1', { build: { preset: 'python' }, command: ['python3', 'x.py'] }));
  const second = await g.builder.begun(2);
  // An app that says what to run needs no preset that knows it.
  assert.match(second.request.extraFiles['Dockerfile.holdfast'] ?? '', /^FROM python:/m);
  assert.doesNotMatch(second.request.extraFiles['Dockerfile.holdfast'] ?? '', /^CMD /m);
  const named = runOf('b', 1, 'c1', { build: { dockerfile: 'other/Dockerfile' } });
  await assert.rejects(g.ask(named).result, { code: 'dockerfile_invalid', message: /no other\/Dockerfile/ });
});
