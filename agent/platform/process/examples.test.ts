/** The examples, run as `npm start` runs them: installed by the preset of each, with what this machine has. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { appConfig } from '../../../shared/protocol/app-config.ts';
import { appSpec } from '../../../shared/protocol/app-spec.ts';
import { testPlatformDeps } from '../../testing/process-platform.ts';
import { createProcessPlatform } from './platform.ts';

const examples = join(import.meta.dirname, '..', '..', '..', 'examples');

const cases: readonly { readonly name: string; readonly answer: RegExp; readonly installs: RegExp | undefined }[] = [
  { name: 'node', answer: /^Hello from node: no type$/m, installs: /^npm ci/ },
  { name: 'python', answer: /^Hello from python$/m, installs: /^pip install/ },
  { name: 'go', answer: /^Hello from go$/m, installs: /^go build/ },
  { name: 'static', answer: /Hello from static/, installs: undefined },
  { name: 'dockerfile', answer: /^Hello from a Dockerfile$/m, installs: undefined },
  { name: 'hello', answer: /^Hello from v1$/m, installs: undefined },
];

for (const { name, answer, installs } of cases) {
  void test(`the example ${name} is installed by its preset and answers`, { timeout: 300_000 }, async (t) => {
    const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-example-'));
    const platform = await createProcessPlatform({ ...testPlatformDeps, dataDir });
    t.after(async () => {
      await platform.close();
      await rm(dataDir, { recursive: true, force: true });
    });
    const folder = join(examples, name);
    const before = await readdir(folder);
    const spec = appSpec.parse({ name, path: `/${name}`, source: folder });
    const steps: string[] = [];
    const options = {
      signal: t.signal,
      onPhase: (phase: string, message: string): void => {
        if (phase === 'build') steps.push(message);
      },
    };
    const pin = await platform.pin(spec, t.signal);
    const run = { app: name, version: 1, spec, config: appConfig.parse({}), pin };
    await platform.prepare(run, options);
    await platform.start(run, options);
    const [target] = platform.targets(name, 1);
    assert.ok(target);
    const [response] = await once(get({ host: target.host, port: target.port, path: '/', agent: false }), 'response');
    assert.equal(response.statusCode, 200);
    assert.match(await text(response), answer);
    if (installs === undefined) assert.deepEqual(steps, []);
    else assert.match(steps.at(-1) ?? '', installs);
    assert.deepEqual(await readdir(folder), before, 'the folder itself is never written to');
  });
}

void test('the example grpc is installed and answers its own client', { timeout: 300_000 }, async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-example-'));
  const platform = await createProcessPlatform({ ...testPlatformDeps, dataDir });
  t.after(async () => {
    await platform.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  const spec = appSpec.parse({
    name: 'grpc',
    path: '/greeter.Greeter',
    source: join(examples, 'grpc'),
    protocol: 'h2c',
  });
  const options = { signal: t.signal, onPhase: (): void => {} };
  const pin = await platform.pin(spec, t.signal);
  const run = { app: 'grpc', version: 1, spec, config: appConfig.parse({}), pin };
  await platform.prepare(run, options);
  await platform.start(run, options);
  const [target] = platform.targets('grpc', 1);
  assert.ok(target);
  const client = join(examples, 'grpc', 'client.js');
  // Its libraries are those of this repository, which tests with them too.
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  const { stdout } = await promisify(execFile)(process.execPath, [client, `${host}:${String(target.port)}`, 'you']);
  assert.equal(stdout, 'Hello you\n');
});
