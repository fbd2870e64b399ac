import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wakeRule, type WakeRule } from '../../shared/protocol/app-config.ts';
import { WakeRules, type Seen } from './wake-rules.ts';

const answer = { status: 204 };
const seen = (more: Partial<Seen> = {}): Seen => ({ method: 'GET', path: '/shop/x', userAgent: 'curl/8', ...more });
const rulesOf = (...rules: unknown[]): WakeRule[] => rules.map((rule) => wakeRule.parse(rule));

test('without rules of its own an app is not woken by the probes of the kubelet', () => {
  const rules = new WakeRules();
  const found = rules.answerFor({}, seen({ userAgent: 'Kube-Probe/1.31' }));
  assert.deepEqual([found?.rule, found?.answer.status], ['default', 200]);
  assert.equal(rules.answerFor({}, seen()), undefined);
  assert.equal(rules.answerFor({ wakeRules: [] }, seen({ userAgent: 'kube-probe/1.31' })), undefined);
});

test('the first rule that fits decides, one without an answer for a wake', () => {
  const wakeRules = rulesOf(
    { path: '/shop/pay*' },
    { methods: ['GET', 'HEAD'], user_agent: '*Bot*', answer },
    { path: '*/healthz', answer: { status: 200, body: 'ok' } },
  );
  const rules = new WakeRules();
  const ruleOf = (more: Partial<Seen>): string | undefined => rules.answerFor({ wakeRules }, seen(more))?.rule;
  assert.equal(ruleOf({ path: '/shop/pay/1', userAgent: 'Googlebot/2.1' }), undefined);
  assert.equal(ruleOf({ userAgent: 'Googlebot/2.1' }), '2');
  assert.equal(ruleOf({ method: 'POST', userAgent: 'Googlebot/2.1' }), undefined);
  assert.equal(ruleOf({ path: '/shop/healthz?full=1' }), '3');
  assert.equal(ruleOf({ path: '/shop/x?/healthz' }), undefined);
  assert.equal(ruleOf({ userAgent: '' }), undefined);
});
