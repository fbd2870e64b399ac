import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EnsureProgress } from '../../shared/protocol/methods.ts';
import type { Serving } from '../../shared/protocol/routes.ts';
import { failedState, waitingState, type PageState } from './page-state.ts';

const asleep: Serving = { state: 'hold', reason: 'asleep' };
const at = (phase: EnsureProgress['phase'], more: Partial<EnsureProgress> = {}): EnsureProgress => ({
  app: 'a',
  version: 1,
  phase,
  message: 'pulling registry.internal/a: denied for user x',
  ...more,
});
const shown = (progress?: EnsureProgress, serving: Serving = asleep, agentUp = true): PageState =>
  waitingState({ serving }, progress, agentUp);

test('each phase is a step in words for anybody, and the message of the platform is not among them', () => {
  const told = (['queued', 'source', 'build', 'pull', 'schedule', 'start', 'switch', 'ready'] as const).map((phase) => {
    const state = shown(at(phase));
    assert.doesNotMatch(JSON.stringify(state), /internal|denied/);
    return state.state === 'waits' ? state.step : undefined;
  });
  assert.deepEqual(told, [0, 0, 0, 1, 1, 2, 2, 2]);
});

test('the place in the queue of builds is told', () => {
  const state = shown(at('queued', { queue: { position: 2, of: 5 } }));
  assert.ok(state.state === 'waits');
  assert.equal(state.text, 'Waiting for a build: 2 of 5 in the queue.');
});

test('an app that answers, failed, or cannot be asked for is told as such', () => {
  const targets = [{ id: 't', host: '127.0.0.1', port: 1 }];
  const ready: Serving = { state: 'ready', targets, pending: null, timings: { buildMs: null, rolloutMs: null } };
  assert.deepEqual(shown(undefined, ready), { state: 'go' });
  const failed = shown(undefined, {
    state: 'failed',
    failure: { code: 'build_failed', phase: 'build', owner: 'app' },
  });
  assert.ok(failed.state === 'failed');
  assert.deepEqual(
    [failed.status, failed.detail],
    [502, 'Error code build_failed; to be fixed by the owner of this app.'],
  );
  const away = shown(at('start'), asleep, false);
  assert.ok(away.state === 'waits');
  assert.match(away.text, /Waiting for the service/);
});

test('an app that may not be woken says when it may', () => {
  const state = failedState({ code: 'wake_budget_exhausted', owner: 'app', status: 503, retryAfterSecs: 150 });
  assert.equal(state.title, 'The app is asleep');
  assert.match(state.text, /in 3 minutes/);
  assert.match(
    failedState({ ...state, code: 'wake_budget_exhausted', owner: 'app', retryAfterSecs: 90 }).text,
    /in 90 sec/,
  );
});
