import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { failedState, waitingState } from './page-state.ts';
import { reservedUrl, waitingPage } from './page.ts';

const asleep = { serving: { state: 'hold', reason: 'asleep' } } as const;

function waiting() {
  const state = waitingState(asleep, undefined, true);
  assert.ok(state.state === 'waits');
  return waitingPage(state, './.holdfast/waiting');
}

test('the page is small, is kept by nobody, and is whole without its script', () => {
  const { status, fields, body } = waiting();
  const html = body.toString();
  assert.equal(status, 503);
  assert.equal(fields['Cache-Control'], 'no-store');
  assert.equal(fields['Retry-After'], '5');
  assert.ok(body.length < 8_192, `${body.length} bytes`);
  assert.doesNotMatch(html, /\{\{/);
  assert.match(html, /<noscript><meta http-equiv="refresh" content="5"><\/noscript>/);
  assert.match(html, /role="status" aria-live="polite">Waking it up\.</);
  assert.equal(html.match(/aria-current="step"/g)?.length, 1);
});

test('its policy lets its own script and style run and nothing else, and nothing comes from elsewhere', () => {
  const { fields, body } = waiting();
  const html = body.toString();
  const policy = fields['Content-Security-Policy'] ?? '';
  for (const element of ['script', 'style']) {
    const content = new RegExp(`<${element}>([^]*?)</${element}>`).exec(html)?.[1] ?? '';
    const hash = createHash('sha256').update(content).digest('base64');
    assert.ok(policy.includes(`${element}-src 'sha256-${hash}'`), policy);
  }
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe/);
  assert.doesNotMatch(html, /(src|href)="(?!data:,")[^"]|url\(|@import/);
});

test('what it says of a failure is escaped, and it does not load itself again', () => {
  const state = failedState({ code: '<b>"&', owner: 'app', status: 502 });
  const { status, fields, body } = waitingPage(state, './.holdfast/waiting');
  assert.equal(status, 502);
  assert.equal(fields['Retry-After'], undefined);
  assert.match(body.toString(), /&lt;b&gt;&quot;&amp;; to be fixed by the owner of this app/);
  assert.doesNotMatch(body.toString(), /http-equiv="refresh"/);
  assert.match(body.toString(), /<a href="">Try again<\/a>/);
});

test('the page finds its stream from wherever below the route it is, also below a prefix that only the browser knows', () => {
  const cases = [
    ['/shop', '/shop', '/shop/.holdfast/waiting'],
    ['/shop', '/shop?x=/y/z', '/shop/.holdfast/waiting'],
    ['/shop', '/shop/', '/shop/.holdfast/waiting'],
    ['/shop', '/shop/a/b?c', '/shop/.holdfast/waiting'],
    ['/shop', '/shop//a//', '/shop/.holdfast/waiting'],
    ['/a/b:c', '/a/b:c', '/a/b:c/.holdfast/waiting'],
    ['/', '/', '/.holdfast/waiting'],
    ['/', '/x/y', '/.holdfast/waiting'],
  ] as const;
  for (const [route, page, stream] of cases) {
    for (const outer of ['', '/outer']) {
      const found = new URL(reservedUrl(route, page, '/.holdfast/waiting'), `http://host${outer}${page}`);
      assert.equal(found.href, `http://host${outer}${stream}`, `${route} ${page}`);
    }
  }
  const deep = `/shop${'/x'.repeat(5_000)}`;
  assert.equal(reservedUrl('/shop', deep, '/.holdfast/waiting'), '/shop/.holdfast/waiting');
});
