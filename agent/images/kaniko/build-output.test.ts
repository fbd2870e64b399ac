/** Logs of build pods: whole, in order, masked and bounded, however often the stream breaks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../shared/wait/clock.ts';
import { AppError } from '../../../shared/errors.ts';
import { silentLog } from '../../../shared/log.ts';
import { createManualClock } from '../../../shared/wait/testing/manual-clock.ts';
import { eventually } from '../../../shared/wait/testing/eventually.ts';
import type { KubeApi, LogQuery } from '../../kube/api.ts';
import type { BuildPodFacts, ContainerFacts } from './build-facts.ts';
import { createBuildOutput } from './build-output.ts';
import { followContainerLog } from './container-log.ts';
import { createMask } from '../../../shared/mask.ts';

const second = (n: number, fraction = ''): string => `2026-11-22T10:00:${String(n).padStart(2, '0')}${fraction}Z`;

/** Answers one request after the other by what the script says. */
function apiOf(script: readonly ((query: LogQuery, signal: AbortSignal) => AsyncGenerator<string>)[]) {
  const asked: LogQuery[] = [];
  const api: Pick<KubeApi, 'log'> = {
    log(_pod, query, { signal }) {
      const next = script[asked.length];
      asked.push(query);
      return next?.(query, signal) ?? (async function* () {})();
    },
  };
  return { api, asked };
}

test('a log that breaks is taken up where it was, without a line lost or told twice', async () => {
  const clock = createManualClock();
  const { api, asked } = apiOf([
    async function* () {
      yield `${second(1, '.5')} one`;
      yield `${second(1, '.25')} older by its time only if compared as text`;
      yield `${second(2, '.1')} two`;
      yield `${second(2, '.1')} two again`;
      throw new AppError('platform_error', 'cut');
    },
    async function* () {
      yield `${second(1, '.25')} older by its time only if compared as text`;
      yield `${second(2, '.1')} two`;
      yield `${second(2, '.05')} of the other stream, written later`;
      yield `${second(2, '.1')} two again`;
      yield `${second(1, '.999')} of the other stream, in the second before`;
      yield `${second(2, '.100000001')} three`;
    },
  ]);
  const lines: string[] = [];
  const log = followContainerLog({
    api,
    namespace: 'n',
    pod: 'p',
    container: 'c',
    onLine: (line) => lines.push(line),
    log: silentLog,
    clock,
  });
  await eventually(2_000, () => {
    clock.advance(1_000);
    assert.equal(lines.at(-1), 'three');
  });
  await log.close();
  assert.deepEqual(lines, [
    'one',
    'older by its time only if compared as text',
    'two',
    'two again',
    'of the other stream, written later',
    'of the other stream, in the second before',
    'three',
  ]);
  assert.equal(asked[0]?.sinceTime, undefined);
  assert.equal(asked[1]?.sinceTime, second(1));
});

test('the end of a log is read at once, though the stream has not told it yet', async () => {
  const { api } = apiOf([
    async function* (_query, signal) {
      yield `${second(1)} one`;
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
    async function* (query) {
      assert.equal(query.follow, false);
      yield `${second(1)} one`;
      yield `${second(3)} last`;
    },
  ]);
  const lines: string[] = [];
  const log = followContainerLog({
    api,
    namespace: 'n',
    pod: 'p',
    container: 'c',
    onLine: (line) => lines.push(line),
    log: silentLog,
    clock: systemClock,
  });
  await eventually(2_000, () => assert.equal(lines.length, 1));
  await log.finish();
  await log.close();
  assert.deepEqual(lines, ['one', 'last']);
});

const nothing: ContainerFacts = { waiting: undefined, running: false, ended: undefined };
const pod: BuildPodFacts = {
  name: 'p',
  uid: 'u',
  jobUid: 'j',
  deleting: false,
  disruption: undefined,
  failed: undefined,
  unschedulable: undefined,
  scheduled: true,
  fetch: nothing,
  build: { ...nothing, ended: { exitCode: 0, reason: '', message: '' } },
};

test('lines come without escapes, what a progress bar overwrote, and secrets, and are bounded', async () => {
  const raw = [
    '\u001b[36mINFO\u001b[0m[0001] RUN x',
    '10%\r50%\r100%',
    'token=hunter2hunter2 end',
    'é'.repeat(4_000),
    'line of a key',
  ];
  const { api } = apiOf([
    async function* () {},
    async function* () {
      for (const line of raw) yield `${second(1)} ${line}`;
    },
  ]);
  const lines: string[] = [];
  const mask = createMask(['hunter2hunter2', 'first\nline of a key\n', 'abc', '']);
  const log = createBuildOutput({
    api,
    namespace: 'n',
    mask,
    onLine: (line) => lines.push(line),
    log: silentLog,
    clock: systemClock,
  });
  log.follow(pod);
  await log.finish();
  await log.close();
  assert.deepEqual([lines[0], lines[1], lines[2], lines[4]], ['INFO[0001] RUN x', '100%', 'token=*** end', '***']);
  assert.equal(Buffer.byteLength(lines[3] ?? ''), 4_096);
  assert.deepEqual(log.lastLines(1), ['***']);
});

test('a mask takes the longest secret first, and none that is too short to be one', () => {
  assert.equal(createMask(['pass', 'password1'])('password1 pass a'), '*** *** a');
  assert.equal(createMask(['a', ''])('a banana'), 'a banana');
});
