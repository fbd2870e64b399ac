import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createRunFiles } from './run-files.ts';

const skip = existsSync('/proc/self/stat') ? false : 'needs /proc';

async function createFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-run-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

void test('a recorded process that still runs is killed with its group, others are left alone', { skip }, async (t) => {
  const folder = await createFolder(t);
  const before = createRunFiles({ folder });
  const [leftOver, own] = [0, 1].map(() => spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' }));
  assert.ok(leftOver?.pid !== undefined && own?.pid !== undefined);
  t.after(() => [leftOver, own].forEach((child) => child.kill('SIGKILL')));
  before.add('left-over', leftOver.pid);
  before.add('own', own.pid);
  const exited = once(leftOver, 'exit');
  assert.deepEqual(await createRunFiles({ folder }).killLeftovers(new Set(['own'])), ['left-over']);
  await exited;
  assert.equal(own.exitCode ?? own.signalCode, null);
  assert.deepEqual(await readdir(folder), ['own.json']);
  before.remove('own');
  assert.deepEqual(await readdir(folder), []);
});

void test(
  'a pid that belongs to another process by now is not killed, nor one of another boot',
  { skip },
  async (t) => {
    const folder = await createFolder(t);
    const files = createRunFiles({ folder });
    const innocent = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
    t.after(() => innocent.kill('SIGKILL'));
    assert.ok(innocent.pid !== undefined);
    files.add('app', innocent.pid);
    const record = JSON.parse(await readFile(join(folder, 'app.json'), 'utf8')) as Record<string, unknown>;
    for (const [name, change] of Object.entries({ older: { startTicks: '1' }, rebooted: { boot: 'other' } })) {
      await writeFile(join(folder, `${name}.json`), JSON.stringify({ ...record, ...change }));
    }
    await rm(join(folder, 'app.json'));
    await writeFile(join(folder, 'broken.json'), '{"pid":');
    assert.deepEqual(await files.killLeftovers(new Set()), []);
    assert.equal(innocent.exitCode ?? innocent.signalCode, null);
    assert.deepEqual(await readdir(folder), []);
  },
);
