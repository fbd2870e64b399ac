/** The gRPC example on the embedded default: applied, called cold, changed and called again, by its own client. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { folder, holdfast, start } from '../testing/embedded.ts';

const example = fileURLToPath(new URL('../../examples/grpc', import.meta.url));

test('a gRPC app is started by its first call, and the first call after a change gets the new version', async (t) => {
  const home = await folder(t);
  const { base } = await start(t, home);
  const mine = join(home, 'grpc');
  await cp(example, mine, { recursive: true });
  const call = async (): Promise<string> => {
    const { stdout } = await promisify(execFile)(process.execPath, [join(example, 'client.js'), new URL(base).host]);
    return stdout;
  };
  const applied = await holdfast(home, 'apply', '-f', join(mine, 'app.toml'));
  assert.equal(applied.code, 0, applied.err);
  assert.equal(await call(), 'Hello from grpc\n');
  const server = join(mine, 'server.js');
  await writeFile(server, (await readFile(server, 'utf8')).replace('from grpc', 'from the next'));
  const changed = await holdfast(home, 'apply', '-f', join(mine, 'app.toml'));
  assert.equal(changed.code, 0, changed.err);
  assert.equal(await call(), 'Hello from the next\n');
});
