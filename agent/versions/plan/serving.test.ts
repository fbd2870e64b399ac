import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Failure } from '../../../shared/protocol/views.ts';
import { appViewOf, type Phase } from './serving.ts';
import type { AppRecord, VersionRecord } from '../../store/records.ts';
import { appRecord, versionRecord } from '../../testing/versions.ts';

const crash: Failure = {
  code: 'app_crashed',
  phase: 'start',
  owner: 'app',
  message: 'exit code 1',
  logs: ['boom'],
  at: '2026-01-01T00:00:01.000Z',
};
const failed: Partial<VersionRecord> = { outcome: 'failed', failure: crash };
const asleep: Phase = { kind: 'asleep' };

function problem(record: AppRecord, phase: Phase = asleep): { code: string | undefined; version: number | null } {
  const { failure, failedVersion } = appViewOf({ record, phase, starting: false, targets: [], keptAwake: undefined });
  return { code: failure?.code, version: failedVersion };
}

test('an app whose calls get a failure shows it', () => {
  const record = appRecord([versionRecord(1)]);
  assert.deepEqual(problem(record, { kind: 'failed', failure: crash }), { code: 'app_crashed', version: 1 });
});

test('an only version that never ran still shows its failure once the retry pause is over', () => {
  assert.deepEqual(problem(appRecord([versionRecord(1, failed)])), { code: 'app_crashed', version: 1 });
});

test('after a reverted update the app shows which newer version failed, until a later one is declared', () => {
  const good = versionRecord(2, { outcome: 'good' });
  const reverted = appRecord([good, versionRecord(3, failed)], { live: 2 });
  assert.deepEqual(problem(reverted), { code: 'app_crashed', version: 3 });
  const waiting = appRecord([good, versionRecord(3, failed), versionRecord(4)], { live: 2, pending: 4 });
  assert.deepEqual(problem(waiting), { code: undefined, version: null });
});

test('a version that has answered shows no failure of a later start that was overcome, nor one of an older version', () => {
  const overcome = appRecord([versionRecord(1, { outcome: 'good', failure: crash })]);
  assert.deepEqual(problem(overcome), { code: undefined, version: null });
  const older = appRecord([versionRecord(1, failed), versionRecord(2, { outcome: 'good' })]);
  assert.deepEqual(problem(older), { code: undefined, version: null });
});

test('where the newest version is not loaded there is nothing to tell', () => {
  const record = appRecord([versionRecord(2, { outcome: 'good' })], { latest: 3 });
  assert.deepEqual(problem(record), { code: undefined, version: null });
});
