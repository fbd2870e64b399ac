/** What only this platform promises; what every platform does is in test/contract. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { text } from 'node:stream/consumers';
import { appConfig } from '../../../shared/protocol/app-config.ts';
import { appSpec, type AppSpecInput } from '../../../shared/protocol/app-spec.ts';
import type { Target } from '../../../shared/protocol/routes.ts';
import type { Platform, StartOptions, VersionRun } from '../platform.ts';
import { testPlatformDeps } from '../../testing/process-platform.ts';
import { createProcessPlatform, type ProcessPlatformDeps } from './platform.ts';
import { createPorts } from './ports.ts';

interface Bench {
  readonly platform: Platform;
  readonly source: string;
  readonly dataDir: string;
  readonly write: (server: string) => Promise<void>;
  readonly run: (version: number, spec?: Partial<AppSpecInput>) => Promise<VersionRun>;
}

const answer = (body: string): string =>
  `require('node:http').createServer((_, response) => response.end(${JSON.stringify(body)})).listen(process.env.PORT);`;

/** In the code of an app: the platform asks, no caller. */
const isProbe = `request.headers['user-agent'] === 'holdfast-probe'`;

const options = (): StartOptions => ({ signal: AbortSignal.timeout(20_000), onPhase: () => {} });

async function createBench(t: TestContext, deps: Partial<ProcessPlatformDeps> = {}): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-process-'));
  const [source, dataDir] = [join(root, 'source'), join(root, 'data')];
  await mkdir(source);
  const platform = await createProcessPlatform({ ...testPlatformDeps, dataDir, ...deps });
  t.after(async () => {
    await platform.close();
    await rm(root, { recursive: true, force: true });
  });
  const write = (server: string): Promise<void> => writeFile(join(source, 'server.js'), server);
  await write(answer('one'));
  return {
    platform,
    source,
    dataDir,
    write,
    async run(version, more = {}) {
      const spec = appSpec.parse({ name: 'shop', path: '/shop', source, ...more });
      const pin = await platform.pin(spec, AbortSignal.timeout(20_000));
      return { app: 'shop', version, spec, config: appConfig.parse({}), pin };
    },
  };
}

test('installs and apps have a temporary folder of their own, which is emptied at the start of an agent', async (t) => {
  const { dataDir, run, platform, write, source } = await createBench(t);
  await write(answer('TMPDIR').replace('"TMPDIR"', 'process.env.TMPDIR'));
  await writeFile(
    join(source, 'package.json'),
    JSON.stringify({ scripts: { build: 'echo built > "$TMPDIR/left"', start: 'node server.js' } }),
  );
  const version = await run(1);
  await platform.prepare(version, options());
  await platform.start(version, options());
  assert.equal(await fetchText(platform.targets('shop', 1)[0]), join(dataDir, 'tmp'));
  assert.ok((await readdir(join(dataDir, 'tmp'))).includes('left'));
  await platform.close();
  const next = await createProcessPlatform({ ...testPlatformDeps, dataDir });
  t.after(() => next.close());
  assert.deepEqual(await readdir(join(dataDir, 'tmp')), []);
});

async function fetchText(target: Target | undefined): Promise<string> {
  assert.ok(target);
  const request = get({ host: target.host, port: target.port, agent: false });
  const [response] = await once(request, 'response');
  return text(response);
}

void test('a version stays what it was when its folder changes', async (t) => {
  const { platform, write, run } = await createBench(t);
  const v1 = await run(1);
  await write(answer('two'));
  const v2 = await run(2);
  await Promise.all([platform.start(v1, options()), platform.start(v2, options())]);
  assert.equal(await fetchText(platform.targets('shop', 1)[0]), 'one');
  assert.equal(await fetchText(platform.targets('shop', 2)[0]), 'two');
});

void test('apps run with the node of the agent', async (t) => {
  const { platform, write, run } = await createBench(t, { env: { PATH: '/usr/bin:/bin' } });
  await write(
    `require('node:http').createServer((_, response) => response.end(process.execPath)).listen(process.env.PORT);`,
  );
  await platform.start(await run(1), options());
  assert.equal(await fetchText(platform.targets('shop', 1)[0]), process.execPath);
});

void test('an app that listens on one loopback address only is found there', async (t) => {
  const { platform, write, run } = await createBench(t);
  await write(answer('v6').replace('process.env.PORT', `process.env.PORT, '::1'`));
  await platform.start(await run(1), options());
  const [target] = platform.targets('shop', 1);
  assert.equal(target?.host, '::1');
  assert.equal(await fetchText(target), 'v6');
});

void test('an app whose port was taken in the meantime gets another port', async (t) => {
  const { platform, source, write, run } = await createBench(t);
  // The first process does what one does that finds its port taken.
  const flag = join(source, '..', 'tried');
  await write(`
    if (!require('node:fs').existsSync(${JSON.stringify(flag)})) {
      require('node:fs').writeFileSync(${JSON.stringify(flag)}, process.env.PORT);
      console.error('Error: listen EADDRINUSE: address already in use :::' + process.env.PORT);
      process.exit(1);
    }
    ${answer('other port')}`);
  await platform.start(await run(1), options());
  assert.notEqual(Number(await readFile(flag, 'utf8')), platform.targets('shop', 1)[0]?.port);
});

void test('a suspect that accepts no connections is not a target until it does', async (t) => {
  const { platform, write, run } = await createBench(t);
  // Closes its port when asked, and opens it again at a signal.
  await write(`
    const server = require('node:http').createServer((request, response) => {
      response.setHeader('connection', 'close');
      response.end(String(process.pid), () => ${isProbe} || server.close());
    });
    process.on('SIGUSR2', () => server.listen(process.env.PORT));
    setInterval(() => {}, 1_000);
    server.listen(process.env.PORT);`);
  const v1 = await run(1);
  await platform.start(v1, options());
  const [target] = platform.targets('shop', 1);
  assert.ok(target);
  const pid = Number(await fetchText(target));
  await assert.rejects(async () => {
    for (;;) await fetchText(target);
  });
  const started = platform.start(v1, { ...options(), suspects: [target.id] });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(platform.targets('shop', 1), []);
  process.kill(pid, 'SIGUSR2');
  await started;
  assert.deepEqual(platform.targets('shop', 1), [target]);
});

void test('an app that goes on dying is started again and again, with pauses', async (t) => {
  const limits = { restartMinMs: 20, restartMaxMs: 100 };
  const { platform, write, run } = await createBench(t, { limits });
  await write(`${answer('')} setTimeout(() => process.exit(1), 100);`);
  const ids = new Set<string>();
  const fourSeen = Promise.withResolvers<void>();
  platform.onTargets((app, version) => {
    for (const { id } of platform.targets(app, version)) ids.add(id);
    if (ids.size === 4) fourSeen.resolve();
  });
  await platform.start(await run(1), options());
  await fourSeen.promise;
});

void test('a start does not wait out the pause before a restart', async (t) => {
  const { platform, write, run } = await createBench(t, { limits: { restartMinMs: 60_000, restartMaxMs: 60_000 } });
  await write(`
    require('node:http').createServer((request, response) => {
      if (${isProbe}) response.end();
      else process.exit(1);
    }).listen(process.env.PORT);`);
  const v1 = await run(1);
  for (let times = 0; times < 3; times += 1) {
    await platform.start(v1, options());
    const [target] = platform.targets('shop', 1);
    const gone = Promise.withResolvers<void>();
    const unsubscribe = platform.onTargets(() => gone.resolve());
    await assert.rejects(fetchText(target));
    await gone.promise;
    unsubscribe();
    await platform.start(v1, options());
    assert.notEqual(platform.targets('shop', 1)[0]?.id, target?.id);
  }
});

void test('an app that does not end at SIGTERM is killed after the grace, or when the signal of stop aborts', async (t) => {
  const { platform, write, run } = await createBench(t, { limits: { stopGraceMs: 50 } });
  await write(`process.on('SIGTERM', () => console.log('no')); ${answer('')}`);
  const v1 = await run(1);
  await platform.start(v1, options());
  await platform.stop('shop', 1, AbortSignal.timeout(20_000));
  await platform.start(v1, options());
  await platform.stop('shop', 1, AbortSignal.abort());
  assert.deepEqual(platform.targets('shop', 1), []);
});

void test('a start that is cancelled, or whose version is stopped, ends with everything that it started', async (t) => {
  const { platform, dataDir, write, run } = await createBench(t);
  await write(`setInterval(() => {}, 1_000);`);
  const v1 = await run(1);
  const runFiles = (): Promise<string[]> => readdir(join(dataDir, 'run'));
  const end: Record<string, (cancel: AbortController) => void | Promise<void>> = {
    cancel: (cancel) => cancel.abort(),
    stop: () => platform.stop('shop', 1, AbortSignal.timeout(20_000)),
    close: () => platform.close(),
  };
  for (const way of Object.values(end)) {
    const cancel = new AbortController();
    const begun = Promise.withResolvers<void>();
    const onPhase: StartOptions['onPhase'] = (phase) => phase === 'start' && begun.resolve();
    const started = assert.rejects(platform.start(v1, { signal: cancel.signal, onPhase }), { code: 'cancelled' });
    await begun.promise;
    while ((await runFiles()).length === 0);
    await way(cancel);
    await started;
    assert.deepEqual(await runFiles(), []);
  }
});

void test('a lost snapshot is taken again if the folder is unchanged, and otherwise the start fails clearly', async (t) => {
  const { platform, dataDir, write, run } = await createBench(t);
  const v1 = await run(1);
  const sources = join(dataDir, 'sources');
  await rm(sources, { recursive: true });
  await mkdir(sources);
  await platform.start(v1, options());
  await platform.stop('shop', 1, AbortSignal.timeout(20_000));
  await rm(sources, { recursive: true });
  await mkdir(sources);
  await write(answer('changed'));
  await assert.rejects(platform.start(v1, options()), { code: 'source_invalid', message: /has changed/ });
});

void test('the snapshot goes with the last version that has it, and not before', async (t) => {
  const { platform, dataDir, write, run } = await createBench(t);
  const signal = AbortSignal.timeout(20_000);
  const v1 = await run(1);
  await platform.start(v1, options());
  await write(answer('two'));
  const v2 = await run(2);
  // v2 has not been started yet: nobody but its pin knows of it.
  await platform.discard('shop', 1, signal);
  assert.deepEqual(await readdir(join(dataDir, 'sources')), [v2.pin.sourceDigest?.slice('sha256:'.length)]);
  await platform.start(v2, options());
  assert.deepEqual(
    (await platform.remove('shop', { volumes: false, signal })).map((object) => object.split('/')[0]),
    ['Process', 'Source'],
  );
  assert.deepEqual(await readdir(join(dataDir, 'sources')), []);
});

void test('the next agent prunes the snapshots of versions that are not adopted, and the run files', async (t) => {
  const { platform, dataDir, write, run } = await createBench(t);
  const v1 = await run(1);
  await platform.start(v1, options());
  await write(answer('two'));
  await run(2);
  assert.equal((await readdir(join(dataDir, 'run'))).length, 1);
  await platform.close();
  assert.deepEqual(await readdir(join(dataDir, 'run')), []);
  const successor = await createProcessPlatform({ ...testPlatformDeps, dataDir });
  t.after(() => successor.close());
  await successor.adopt([v1], AbortSignal.timeout(20_000));
  assert.deepEqual(await readdir(join(dataDir, 'sources')), [v1.pin.sourceDigest?.slice('sha256:'.length)]);
});

void test('a port that something listens on is not given to an app', async (t) => {
  const first = createPorts({ random: () => 0.5 });
  const { port: taken } = await first.take('one');
  const server = createServer().listen(taken, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const others = createPorts({ random: () => 0.5 });
  assert.notEqual((await others.take('two')).port, taken);
  assert.equal((await others.take('two', taken)).heldBy, '', 'a program that is no app has it');
});

test('a port that an app declares is its own, and of two that declare it the second gets another one', async () => {
  const ports = createPorts();
  const { port } = await createPorts().take('probe');
  assert.deepEqual(await ports.take('one', port), { port, heldBy: undefined });
  assert.equal(ports.heldBy(port), 'one');
  const second = await ports.take('two', port);
  assert.notEqual(second.port, port);
  assert.equal(second.heldBy, 'one');
  ports.release(port);
  assert.deepEqual(await ports.take('two', port), { port, heldBy: undefined });
});

test('an app is not read by the package.json of a folder above the data', async (t) => {
  const { platform, run, dataDir } = await createBench(t);
  await writeFile(join(dataDir, '..', 'package.json'), '{ "type": "module" }');
  await platform.start(await run(1), options());
  assert.equal(await fetchText(platform.targets('shop', 1)[0]), 'one');
});
