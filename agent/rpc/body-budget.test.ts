import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BodyBudget } from './body-budget.ts';

test('bodies are bounded for each key and in all, and give their bytes back', () => {
  const budget = new BodyBudget({ totalBytes: 100, keyBytes: 60 });
  const one = budget.open('a');
  one.add(50);
  assert.throws(() => one.add(20), { code: 'too_many_calls', message: /requests of a/ });
  const other = budget.open('b');
  other.add(50);
  assert.throws(() => budget.open('c').add(1), { code: 'too_many_calls', message: /all requests/ });
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  budget.open('c').add(50);
});

test('where bodies may be evicted, the oldest that has bytes makes room for a newer one', () => {
  const budget = new BodyBudget({ totalBytes: 100 });
  const evicted: string[] = [];
  const open = (name: string) => budget.open('webhooks', () => evicted.push(name));
  open('silent');
  const slow = open('slow');
  slow.add(60);
  open('quick').add(40);
  open('real').add(50);
  assert.deepEqual(evicted, ['slow']);
  assert.throws(() => slow.add(1), { code: 'too_many_calls' });
  assert.throws(() => open('huge').add(101), { code: 'too_many_calls' });
});
