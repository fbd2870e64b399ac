import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../../shared/errors.ts';
import { silentLog } from '../../../shared/log.ts';
import { appConfig } from '../../../shared/protocol/app-config.ts';
import { appSpec } from '../../../shared/protocol/app-spec.ts';
import { systemClock } from '../../../shared/wait/clock.ts';
import type { Pin, VersionRun } from '../../platform/platform.ts';
import { startWithRetries } from './attempts.ts';

interface Scene {
  readonly steps: string[];
  readonly pins: Pick<Pin, 'imageDigest' | 'imageTag'>[];
  readonly start: () => Promise<unknown>;
}

function scene(
  app: { readonly source?: string; readonly image?: string },
  pinned: Partial<Pin>,
  platform: { readonly build?: () => string; readonly start?: (run: VersionRun) => void },
): Scene {
  const steps: string[] = [];
  const pins: Pick<Pin, 'imageDigest' | 'imageTag'>[] = [];
  const spec = appSpec.parse({ name: 'hello', path: '/hello', ...app });
  let pin: Pin = { imageDigest: null, sourceDigest: 'git:abc', imageTag: null, ...pinned };
  const start = (): Promise<unknown> =>
    startWithRetries(
      {
        platform: {
          async prepare(run) {
            steps.push('prepare');
            const imageDigest = platform.build?.() ?? null;
            return { ...run.pin, imageDigest, imageTag: spec.source === undefined ? null : 'tag' };
          },
          async start(run) {
            steps.push(`start ${run.pin.imageDigest ?? 'by tag'}`);
            platform.start?.(run);
          },
          switchTo: () => Promise.resolve(),
        },
        metrics: { started: () => undefined, startFailed: () => undefined },
        state: {
          version: () => ({
            version: 1,
            spec,
            ...pin,
            outcome: 'declared',
            failure: null,
            timings: null,
            createdAt: '',
            createdBy: '',
          }),
          run: () => ({ app: 'hello', version: 1, spec, config: appConfig.parse({}), pin }),
          pinned(_, now) {
            pins.push({ imageDigest: now.imageDigest, imageTag: now.imageTag });
            pin = { ...pin, ...now };
          },
        },
        clock: systemClock,
        log: silentLog,
      },
      {
        version: 1,
        switching: 'before',
        suspects: [],
        onPhase: () => undefined,
        signal: new AbortController().signal,
      },
    );
  return { steps, pins, start };
}

const source = { source: 'https://git.example/hello.git' };

test('a version whose digest is known is started without being prepared', async () => {
  const { steps, start } = scene(source, { imageDigest: 'sha256:1', imageTag: 'tag' }, {});
  await start();
  assert.deepEqual(steps, ['start sha256:1']);
});

test('a built image is kept though the app does not start', async () => {
  const { pins, start } = scene(
    source,
    {},
    {
      build: () => 'sha256:1',
      start: () => {
        throw new AppError('app_crashed', 'it crashed', { phase: 'start' });
      },
    },
  );
  await assert.rejects(start(), { code: 'app_crashed' });
  assert.deepEqual(pins, [{ imageDigest: 'sha256:1', imageTag: 'tag' }]);
});

test('the digest of a tag is kept only once the app has answered', async () => {
  const { pins, start } = scene(
    { image: 'registry.example/hello:1' },
    {},
    {
      build: () => 'sha256:1',
      start: () => {
        throw new AppError('app_crashed', 'it crashed', { phase: 'start' });
      },
    },
  );
  await assert.rejects(start(), { code: 'app_crashed' });
  assert.deepEqual(pins, []);
});

for (const code of ['image_not_found', 'image_pull_failed'] as const)
  test(`an image that the registry has lost is built anew, once (the node says ${code})`, () => losesImage(code));

async function losesImage(code: 'image_not_found' | 'image_pull_failed'): Promise<void> {
  let lost = true;
  const { steps, start } = scene(
    source,
    { imageDigest: 'sha256:1', imageTag: 'tag' },
    {
      build: () => 'sha256:2',
      start: (run) => {
        if (lost) {
          lost = run.pin.imageDigest === 'sha256:2';
          throw new AppError(code, 'gone', { phase: 'pull' });
        }
      },
    },
  );
  await start();
  assert.deepEqual(steps, ['start sha256:1', 'prepare', 'start sha256:2']);
  const gone = scene(
    source,
    { imageDigest: 'sha256:1', imageTag: 'tag' },
    {
      build: () => 'sha256:2',
      start: () => {
        throw new AppError(code, 'gone', { phase: 'pull' });
      },
    },
  );
  await assert.rejects(gone.start(), { code });
  assert.deepEqual(gone.steps, ['start sha256:1', 'prepare', 'start sha256:2']);
}
