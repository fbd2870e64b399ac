/** A secret that goes in by every way there is comes out by none: logs, events, audit, answers and errors. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AppSpecInput } from '../../shared/protocol/app-spec.ts';
import { Stack, testAppFolder } from './stack.ts';

const canary = 'canary-5d0c1f';

test('a canary secret is in no log line, no event, no audit entry, no answer and no error', async (t) => {
  const stack = await Stack.start(t, { routers: 1 });
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-canary-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'package.json'), JSON.stringify({ scripts: { build: 'exit 3', start: 'node s.js' } }));
  const told: unknown[] = [];
  const attempt = async (app: Partial<AppSpecInput>): Promise<void> => {
    const spec = { name: 'a', path: '/a', source: testAppFolder, health_url: '/healthz', ...app };
    const secrets = { secrets: { KEY: canary, ...app.secrets }, build_secrets: { TOKEN: `${canary}-build` } };
    told.push(await stack.call('apps.apply', { apps: [{ ...spec, ...secrets }] }).catch((error: unknown) => error));
  };
  const ensure = async (): Promise<void> => {
    told.push(await stack.call('versions.ensure', { app: 'a' }).catch((error: unknown) => error));
  };
  await attempt({});
  await ensure();
  // Refused: text that cannot be stored, a key twice, a route that is malformed, one that is taken, a folder that is not there.
  await attempt({ secrets: { BINARY: `${canary}\0` } });
  await attempt({ secrets: { HALF: `${canary}\ud83d` } });
  await attempt({ env: { KEY: 'twice' } });
  await attempt({ path: `/${canary} x` });
  await attempt({ name: 'b', path: '/a' });
  await attempt({ source: join(folder, 'nowhere') });
  // Declared, and fails: at its build, at its start.
  await attempt({ source: folder });
  await ensure();
  await attempt({ command: ['sh', '-c', 'echo started; exit 4'] });
  await ensure();
  told.push(await stack.call('versions.rollback', { app: 'a' }).catch((error: unknown) => error));
  const { versions } = await stack.call('versions.list', { app: 'a' });
  assert.ok(versions.length >= 3, `${versions.length} versions`);
  told.push(versions, await stack.call('apps.get', { app: 'a' }), await stack.call('apps.list', {}));
  told.push(
    await stack.call('events.list', {}),
    await stack.call('audit.list', {}),
    await stack.call('builds.list', {}),
  );
  told.push(await stack.call('logs.follow', { app: 'a' }));
  await stack.call('apps.delete', { app: 'a' });
  await stack.kill('agent', 'SIGTERM');

  const answers = told.map((one) =>
    one instanceof Error ? { message: one.message, data: (one as { data?: unknown }).data, stack: one.stack } : one,
  );
  // The one place where a caller sees what it wrote itself: its own malformed route.
  const shown = JSON.stringify(answers).replaceAll(`/${canary} x`, '');
  assert.ok(shown.includes('"KEY":"***"'), 'the key is shown, and its value is not');
  assert.ok(
    !shown.includes(canary),
    shown.slice(Math.max(0, shown.indexOf(canary) - 300), shown.indexOf(canary) + 100),
  );
  assert.ok(stack.output.includes('"audit"'), 'the output of the agent was read');
  const at = stack.output.indexOf(canary);
  assert.equal(at, -1, stack.output.slice(Math.max(0, at - 500), at + 100));
});
