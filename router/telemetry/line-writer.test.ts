import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../shared/wait/clock.ts';
import { LineWriter } from './line-writer.ts';
import { until } from '../../shared/wait/testing/until.ts';

function openFile(t: TestContext, flags = 'a'): { readonly fd: number; readonly text: () => string } {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-lines-'));
  const file = join(folder, 'out');
  const fd = openSync(file, flags);
  t.after(() => {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  });
  return { fd, text: () => readFileSync(file, 'utf8') };
}

for (const nonBlocking of [true, false]) {
  test(`lines come in their order and whole, many or few, short or long, ${nonBlocking ? 'at once' : 'by a thread'}`, async (t) => {
    const { fd, text } = openFile(t);
    const writer = new LineWriter({
      clock: systemClock,
      output: { fd, nonBlocking },
      onDropped: () => assert.fail('dropped'),
    });
    writer.add('alone\n');
    await until(() => text() === 'alone\n', 'the line that nothing follows');
    let all = 'alone\n';
    for (let i = 0; i < 5_000; i += 1) {
      const line = `${i}${i % 1_000 === 0 ? 'x'.repeat(10_000) : ''}\n`;
      all += line;
      writer.add(line);
    }
    await writer.close();
    assert.equal(text(), all);
  });

  test(`a descriptor that cannot be written to costs the lines and nothing else, ${nonBlocking ? 'at once' : 'by a thread'}`, async (t) => {
    const fd = openSync(fileURLToPath(import.meta.url), 'r');
    t.after(() => closeSync(fd));
    let dropped = 0;
    const writer = new LineWriter({
      clock: systemClock,
      output: { fd, nonBlocking },
      onDropped: (lines) => (dropped += lines),
    });
    writer.add('a\n');
    writer.add('b\n');
    await writer.close();
    assert.equal(dropped, 2);
  });
}

test('a line that comes after the end is counted as dropped', async (t) => {
  const { fd, text } = openFile(t);
  let dropped = 0;
  const writer = new LineWriter({
    clock: systemClock,
    output: { fd, nonBlocking: true },
    onDropped: (lines) => (dropped += lines),
  });
  writer.add('a\n');
  await writer.close();
  writer.add('b\n');
  assert.deepEqual([text(), dropped], ['a\n', 1]);
});

/** Writes lines until some are dropped, says how many were taken, and ends when it is told. */
const flood = `
  const { LineWriter, openStandardOutput } = await import(${JSON.stringify(new URL('./line-writer.ts', import.meta.url).href)});
  const { systemClock } = await import(${JSON.stringify(new URL('../../shared/wait/clock.ts', import.meta.url).href)});
  let dropped = 0;
  const writer = new LineWriter({ clock: systemClock, output: openStandardOutput(), maxBytes: 200_000, onDropped: (lines) => (dropped += lines) });
  let added = 0;
  const more = () => {
    for (let i = 0; i < 100; i += 1) writer.add(String(added++).padStart(99) + '\\n');
    if (dropped === 0) setImmediate(more);
    else process.send({ taken: added - dropped, added });
  };
  more();
  process.on('message', () => writer.close().then(() => process.exit(0)));
`;

test('what others write to the same file is between the lines, and over none', async (t) => {
  const { fd, text } = openFile(t, 'w');
  const code = `
    const { writeSync } = await import('node:fs');
    const { LineWriter, openStandardOutput } = await import(${JSON.stringify(new URL('./line-writer.ts', import.meta.url).href)});
    const { systemClock } = await import(${JSON.stringify(new URL('../../shared/wait/clock.ts', import.meta.url).href)});
    const writer = new LineWriter({ clock: systemClock, output: openStandardOutput(), onDropped: () => process.exit(1) });
    for (let i = 0; i < 1_000; i += 1) {
      writer.add('a' + i + '\\n');
      writeSync(1, 'b' + i + '\\n');
    }
    await writer.close();`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], { stdio: ['ignore', fd, 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  const lines = text().split('\n').slice(0, -1);
  for (const kind of ['a', 'b']) {
    const own = lines.filter((line) => line.startsWith(kind));
    assert.deepEqual(
      own,
      Array.from({ length: 1_000 }, (_, index) => `${kind}${index}`),
    );
  }
});

// By way of cat a pipe, which Node's own are not: they are sockets.
for (const [kind, command] of [
  ['socket', 'exec "$0" "$@"'],
  ['pipe', '"$0" "$@" | cat'],
] as const) {
  test(`a reader that takes nothing from a ${kind} costs lines, which are counted, and holds nothing up`, async (t) => {
    const args = ['-c', command, process.execPath, '--input-type=module', '--eval', flood];
    const child = spawn('/bin/sh', args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
    t.after(() => child.kill('SIGKILL'));
    const said = await new Promise<{ taken: number; added: number }>((resolve) => {
      child.once('message', (message) => resolve(message as { taken: number; added: number }));
    });
    assert.ok(said.taken > 0 && said.taken < said.added);
    // Its loop answers although nothing goes out; then what was taken comes, in order.
    child.send('end');
    let text = '';
    for await (const chunk of child.stdout ?? []) text += String(chunk);
    const lines = text.split('\n').slice(0, -1);
    assert.deepEqual(
      lines.map(Number),
      Array.from({ length: said.taken }, (_, index) => index),
    );
  });
}
