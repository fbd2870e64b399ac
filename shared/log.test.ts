import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from './errors.ts';
import { loggedError } from './log.ts';

test('an error is logged with its code and its causes, and without members that may hold data', () => {
  const cause = Object.assign(new Error('refused'), {
    code: '22P05',
    where: 'JSON data, line 1: {"KEY":"canary',
    detail: 'canary',
  });
  const error = new AppError('internal', 'a write failed', { cause, phase: 'declare', data: { value: 'canary' } });
  const logged = loggedError(error);
  assert.equal(logged.type, 'AppError');
  assert.equal(logged['code'], 'internal');
  assert.equal(logged['phase'], 'declare');
  assert.deepEqual((logged['cause'] as { code: string }).code, '22P05');
  assert.doesNotMatch(JSON.stringify(logged), /canary/);
});

test('causes are bounded, and what is not an error says only its type', () => {
  const error = new Error('loop');
  error.cause = error;
  assert.equal(loggedError(error).message, 'loop');
  assert.deepEqual(loggedError('canary'), { type: 'string', message: 'something that is not an error was thrown' });
});
