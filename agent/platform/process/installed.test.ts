import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { systemClock } from '../../../shared/wait/clock.ts';
import { until } from '../../../shared/wait/testing/until.ts';
import { createInstalled, type Installed, type InstallListener, type InstallRequest } from './installed.ts';

interface Bench {
  readonly installed: Installed;
  readonly folder: string;
  readonly running: Set<string>;
  readonly request: (script: string, more?: Partial<InstallRequest>) => InstallRequest;
}

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;

async function createBench(t: TestContext, timeoutMs = 20_000): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-installed-'));
  const [snapshot, folder] = [join(root, 'snapshot'), join(root, 'installed')];
  await mkdir(snapshot);
  await writeFile(join(snapshot, 'file'), 'content');
  const running = new Set<string>();
  const runFiles = { add: (id: string) => void running.add(id), remove: (id: string) => void running.delete(id) };
  const installed = createInstalled({ folder, runFiles, timeoutMs, clock: systemClock });
  t.after(async () => {
    await installed.close();
    assert.equal(running.size, 0, 'no command is left');
    assert.deepEqual(await readdir(snapshot), ['file'], 'the snapshot is never written to');
    await rm(root, { recursive: true });
  });
  return {
    installed,
    folder,
    running,
    request: (script, more = {}) => ({
      digest: digest('a'),
      snapshot,
      manifests: 'tree',
      install: [],
      build: [{ words: ['sh', '-c', script] }],
      inputs: {},
      env: () => ({ PATH: process.env['PATH'] ?? '' }),
      ...more,
    }),
  };
}

function listen(): InstallListener & {
  readonly steps: string[];
  readonly lines: string[];
  readonly line: (text: string) => Promise<void>;
} {
  const steps: string[] = [];
  const lines: string[] = [];
  const waiting = new Map<string, () => void>();
  return {
    steps,
    lines,
    onStep: (title) => steps.push(title),
    onLine: (line) => {
      lines.push(line);
      waiting.get(line)?.();
    },
    line: (text) => new Promise((resolve) => waiting.set(text, resolve)),
  };
}

void test('dependencies are installed once into a copy, for all concurrent and later callers', async (t) => {
  const { installed, request, folder } = await createBench(t);
  const listeners = [listen(), listen()];
  const asked = request('echo once >> made; cat file');
  const trees = await Promise.all(listeners.map((listener) => installed.ready(asked, listener, t.signal)));
  assert.equal(trees[0], trees[1]);
  for (const { steps, lines } of listeners) {
    assert.equal(steps.length, 1);
    assert.deepEqual(lines.slice(1), ['content']);
  }
  const later = listen();
  assert.equal(await installed.ready(asked, later, t.signal), trees[0]);
  assert.deepEqual(later.steps, []);
  assert.equal(await readFile(join(trees[0] ?? '', 'made'), 'utf8'), 'once\n');
  await installed.ready(request('echo once >> made; cat file', { inputs: { A: '1' } }), later, t.signal);
  assert.equal((await readdir(folder)).length, 2, 'other build arguments make another copy');
});

void test('a failing command is reported with its exit code and last lines, its copy is removed, and a later call tries again', async (t) => {
  const { installed, request, folder } = await createBench(t);
  const failing = request('seq 1 200; echo to stderr >&2; exit 7', {
    build: [{ words: ['sh', '-c', 'seq 1 200; exit 7'] }, { words: ['never'] }],
  });
  for (let attempt = 0; attempt < 2; attempt += 1) {
    await assert.rejects(
      installed.ready(failing, listen(), t.signal),
      (error: { code: string; phase: string; message: string; data: { logs: string[] } }) => {
        assert.deepEqual([error.code, error.phase], ['build_failed', 'build']);
        assert.match(error.message, /^seq .* failed with exit code 7$/);
        assert.deepEqual([error.data.logs.length, error.data.logs.at(-1)], [50, '200']);
        return true;
      },
    );
    assert.deepEqual(await readdir(folder), []);
  }
  await assert.rejects(
    installed.ready(request('', { build: [{ words: ['no-such-tool', 'x'] }] }), listen(), t.signal),
    {
      code: 'build_failed',
      message: /is no-such-tool installed on this machine/,
    },
  );
});

void test('the work goes on while one caller waits, and ends with the last', async (t) => {
  const { installed, request, folder, running } = await createBench(t);
  const [one, other] = [new AbortController(), new AbortController()];
  const listener = listen();
  const started = listener.line('started');
  const asked = request('echo started; exec sleep 60');
  const first = installed.ready(asked, listener, one.signal);
  const second = installed.ready(asked, listen(), other.signal);
  await started;
  one.abort();
  await assert.rejects(first, { code: 'cancelled' });
  assert.equal(running.size, 1);
  other.abort();
  await assert.rejects(second, { code: 'cancelled' });
  assert.equal(running.size, 0);
  assert.deepEqual(await readdir(folder), []);
});

void test('installing that does not end is ended, with what it started', async (t) => {
  const { installed, request, folder } = await createBench(t, 300);
  const asked = request("trap '' TERM; sleep 60 & echo started; wait; sleep 60");
  await assert.rejects(installed.ready(asked, listen(), t.signal), { code: 'build_timeout', message: /0\.3 s/ });
  assert.deepEqual(await readdir(folder), []);
});

void test('an unfinished copy is made again, and closing ends the work under way', async (t) => {
  const { installed, request, folder } = await createBench(t);
  const tree = await installed.ready(request('true'), listen(), t.signal);
  await rm(join(tree, '..', 'done'));
  await writeFile(join(tree, 'half'), '');
  assert.equal(await installed.ready(request('true'), listen(), t.signal), tree);
  assert.equal(existsSync(join(tree, 'half')), false);
  const listener = listen();
  const started = listener.line('started');
  const endless = installed.ready(request('echo started; exec sleep 60'), listener, t.signal);
  await started;
  await Promise.all([assert.rejects(endless, { code: 'cancelled' }), installed.close()]);
  await assert.rejects(installed.ready(request('true'), listen(), t.signal), { code: 'cancelled' });
  assert.equal((await readdir(folder)).length, 1);
});

void test('copies go with their snapshots', async (t) => {
  const { installed, request, folder } = await createBench(t);
  await installed.ready(request('true'), listen(), t.signal);
  const kept = await installed.ready(request('true', { digest: digest('b') }), listen(), t.signal);
  await installed.prune((one) => one === digest('b'));
  assert.equal((await readdir(folder)).length, 1);
  assert.equal(existsSync(kept), true);
});

void test('a snapshot with the same manifests gets what was installed for the one before, and only builds', async (t) => {
  const { installed, folder, request } = await createBench(t);
  const snapshots = join(folder, '..', 'snapshots');
  t.after(() => rm(snapshots, { recursive: true, force: true }));
  const asked = async (letter: string, files: Record<string, string>): Promise<InstallRequest> => {
    const snapshot = join(snapshots, letter);
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(snapshot, path)), { recursive: true });
      await writeFile(join(snapshot, path), text);
    }
    return request('cat app.txt modules/a/made > built; echo changed > modules/a/made', {
      digest: digest(letter),
      snapshot,
      manifests: ['list.txt'],
      install: [{ words: ['sh', '-c', 'mkdir -p modules/a; ls > modules/seen; cp list.txt modules/a/made; echo ran'] }],
    });
  };
  const ready = async (one: InstallRequest): Promise<{ tree: string; ran: number }> => {
    const { lines, ...listener } = listen();
    const tree = await installed.ready(one, { ...listener, onLine: (line) => lines.push(line) }, t.signal);
    return { tree, ran: lines.filter((line) => line === 'ran').length };
  };
  const first = await ready(await asked('a', { 'list.txt': 'one', 'app.txt': 'v1 ' }));
  const edited = await asked('b', { 'list.txt': 'one', 'app.txt': 'v2 ' });
  const [second, same] = await Promise.all([ready(edited), ready(edited)]);
  assert.deepEqual([first.ran, second.ran, same.ran], [1, 0, 0]);
  assert.equal(
    await readFile(join(first.tree, 'modules', 'seen'), 'utf8'),
    'list.txt\nmodules\n',
    'nothing but manifests',
  );
  assert.equal(await readFile(join(first.tree, 'built'), 'utf8'), 'v1 one');
  assert.equal(await readFile(join(second.tree, 'built'), 'utf8'), 'v2 one', 'the build of the first changed nothing');
  const other = await ready(await asked('c', { 'list.txt': 'two', 'app.txt': 'v3 ' }));
  assert.equal(other.ran, 1);
  assert.equal((await readdir(folder)).length, 5, 'three copies of two layers');

  await installed.prune((one) => one === digest('b'));
  assert.equal((await readdir(folder)).length, 2);
  assert.equal((await ready(await asked('d', { 'list.txt': 'one', 'app.txt': 'v4 ' }))).ran, 0, 'the layer was kept');
  await installed.prune(() => false);
  assert.deepEqual(await readdir(folder), []);
});

void test('two snapshots that need a layer at once share the installation, and one that fails leaves nothing', async (t) => {
  const { installed, folder, request } = await createBench(t);
  const asked = (letter: string, script: string): InstallRequest =>
    request('true', { digest: digest(letter), manifests: ['file'], install: [{ words: ['sh', '-c', script] }] });
  const log = join(folder, '..', 'log');
  const once = `echo ran >> ${log}; sleep 0.2`;
  await Promise.all(['a', 'b'].map((letter) => installed.ready(asked(letter, once), listen(), t.signal)));
  assert.equal(await readFile(log, 'utf8'), 'ran\n');
  await installed.prune(() => false);
  await assert.rejects(installed.ready(asked('a', 'touch half; exit 1'), listen(), t.signal), { code: 'build_failed' });
  assert.deepEqual(await readdir(folder), []);
});

void test('programs of a Python environment start the interpreter of the copy', async (t) => {
  const { installed, request } = await createBench(t);
  const script =
    'python3 -m venv --without-pip venv; printf "#!$PWD/venv/bin/python3\\nimport sys; print(sys.prefix)\\n" > venv/bin/tool; chmod +x venv/bin/tool';
  const install = [{ words: ['sh', '-c', script] }];
  const tree = await installed.ready(
    request('venv/bin/tool > prefix', { manifests: ['file'], install }),
    listen(),
    t.signal,
  );
  assert.equal(await readFile(join(tree, 'prefix'), 'utf8'), `${join(tree, 'venv')}\n`);
});

void test('an installation that is cut off leaves nothing, and the next one begins from the start', async (t) => {
  const { installed, folder, request } = await createBench(t);
  const install = [{ words: ['sh', '-c', 'test ! -e half; touch half; echo begun; sleep 60'] }];
  const cut = request('true', { manifests: ['file'], install });
  for (let times = 0; times < 2; times += 1) {
    const leaving = new AbortController();
    const onLine = (line: string): void => void (line === 'begun' && leaving.abort());
    await assert.rejects(installed.ready(cut, { onStep: () => {}, onLine }, leaving.signal), { code: 'cancelled' });
    await until(async () => (await readdir(folder)).length === 0, 'nothing is left');
  }
});

void test('a layer is kept while a copy is made of it, whenever copies that are not wanted are removed', async (t) => {
  const { installed, folder, request } = await createBench(t);
  const asked = (letter: string): InstallRequest =>
    request('true', {
      digest: digest(letter),
      manifests: ['file'],
      install: [{ words: ['sh', '-c', 'seq 9 > made'] }],
    });
  await installed.ready(asked('a'), listen(), t.signal);
  const second = installed.ready(asked('b'), listen(), t.signal);
  let isOver = false;
  const over = (): void => void (isOver = true);
  second.then(over, over);
  // Pruning meets the copy in whatever state it is.
  while (!isOver) await installed.prune((one) => one === digest('b'));
  assert.equal((await readFile(join(await second, 'made'), 'utf8')).length, 18);
  await installed.prune(() => false);
  assert.deepEqual(await readdir(folder), []);
});

void test('programs of pnpm look for modules in the copy', async (t) => {
  const { installed, request } = await createBench(t);
  const script = 'mkdir -p node_modules/.bin; echo "NODE_PATH=$PWD/node_modules" > node_modules/.bin/tool';
  const tree = await installed.ready(
    request('true', { manifests: ['file'], install: [{ words: ['sh', '-c', script] }] }),
    listen(),
    t.signal,
  );
  const tool = await readFile(join(tree, 'node_modules', '.bin', 'tool'), 'utf8');
  assert.equal(tool, `NODE_PATH=${join(tree, 'node_modules')}\n`);
});
