/** The waiting page as a person sees it: a real Chromium before a real router, agent and apps. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AppSpecInput } from '../../shared/protocol/app-spec.ts';
import { startChromium, type BrowserPage } from '../support/chromium.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { Stack, testAppFolder } from './stack.ts';

/** Folder for screenshots, if someone wants to look at them. */
const pictures = process.env['HOLDFAST_TEST_PICTURES'];

function app(name: string, env: Record<string, string>): AppSpecInput {
  return {
    name,
    path: `/${name}`,
    source: testAppFolder,
    health_url: '/healthz',
    env: { VERSION: '1', ...env },
    config: { waiting_page: true },
  };
}

const status = `document.getElementById('status')?.textContent`;
const text = 'document.body?.innerText ?? ""';

/** Looks until the page says so. */
async function says(page: BrowserPage, what: RegExp): Promise<string> {
  return eventually(30_000, async () => {
    const now = String(await page.evaluate(text));
    assert.match(now, what);
    return now;
  });
}

/** Chromium tells of every answer that is an error, which the page is on purpose, and asks for the app's icon; nothing else may go wrong. */
function assertNoErrors(page: BrowserPage): void {
  const expected = /^network: Failed to load resource: .* status of (50[23]|404 \(Not Found\) \S+\/favicon\.ico)/;
  const others = page.errors.filter((error) => !expected.test(error));
  assert.deepEqual(others, []);
}

async function picture(page: BrowserPage, name: string): Promise<void> {
  if (pictures !== undefined) await writeFile(join(pictures, `${name}.png`), await page.screenshot());
}

test('browsers that open a sleeping app', async (t) => {
  const stack = await Stack.start(t, { routers: 1 });
  const browser = await startChromium(t);
  const apply = (name: string, env: Record<string, string>) => stack.call('apps.apply', { apps: [app(name, env)] });
  const urlOf = (name: string): string => `${stack.routerUrls[0]}/${name}/`;
  const height = `document.querySelector('main').offsetHeight`;
  let heightOfWaits: unknown;

  await t.test('one sees how far the app is, and gets to it by itself', async () => {
    await apply('a', { MODE: 'slow', DELAY_MS: '2000' });
    const page = await browser.open();
    await page.goto(`${urlOf('a')}?who=me#there`);
    // Not in the page as it came: nothing was known of the start yet.
    await says(page, /Waiting for its first answer/);
    for (const scheme of ['light', 'dark']) {
      await page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
      await picture(page, scheme);
    }
    heightOfWaits = await page.evaluate(height);
    assert.equal(await page.evaluate('document.querySelector("[aria-current]").textContent'), 'Start');
    await says(page, /"version":"1".*"url":"\/\?who=me"/);
    assert.equal(await page.evaluate('location.href'), `${urlOf('a')}?who=me#there`);
    assertNoErrors(page);
  });

  await t.test('a form that is posted waits for the app, and is posted once', async () => {
    await apply('form', { MODE: 'slow', DELAY_MS: '1000' });
    const page = await browser.open();
    const form = `<form method=post action="${urlOf('form')}echo"><input name=item value=7></form>`;
    await page.evaluate(`document.body.innerHTML = ${JSON.stringify(form)}; document.forms[0].submit()`);
    let shown = false;
    await eventually(30_000, async () => {
      shown ||= (await page.evaluate(status)) !== undefined;
      assert.match(String(await page.evaluate(text)), /"method":"POST".*"body":"item=7"/);
    });
    assert.ok(!shown, 'the waiting page came in place of the answer');
    const { events } = await stack.call('events.list', { app: 'form' });
    const called = events.filter(({ kind }) => kind === 'version.called');
    assert.match(
      called.map(({ message }) => message).join('\n'),
      /^by POST 127\.0\.0\.1\/form\/echo from [^\n]*Chrome[^\n]*$/,
    );
    assertNoErrors(page);
  });

  await t.test(
    'one is told that the start failed and for whom that is, and gets to the app once it is mended',
    async () => {
      await apply('bad', { MODE: 'crash' });
      const page = await browser.open();
      await page.goto(urlOf('bad'));
      const shown = await says(page, /could not be started/);
      await picture(page, 'failed');
      assert.match(shown, /Error code app_crashed; to be fixed by the owner of this app/);
      assert.doesNotMatch(shown, /MODE is crash/);
      assert.equal(await page.evaluate('document.title'), 'The app could not be started');
      assert.equal(await page.evaluate(height), heightOfWaits, 'the page jumps');
      await apply('bad', { VERSION: '2' });
      await page.evaluate('document.querySelector("a").click()');
      await says(page, /"version":"2"/);
      assertNoErrors(page);
    },
  );

  await t.test('one without scripts gets to the app too', async () => {
    await apply('plain', { MODE: 'slow', DELAY_MS: '1000' });
    const page = await browser.open();
    await page.send('Emulation.setScriptExecutionDisabled', { value: true });
    await page.goto(urlOf('plain'));
    await says(page, /"version":"1"/);
    assertNoErrors(page);
  });

  await t.test('a hidden tab gets to the app by itself', async () => {
    await apply('hidden', { MODE: 'slow', DELAY_MS: '1500' });
    const page = await browser.open();
    const hidden = `Object.defineProperty(Document.prototype, 'hidden', { get: () => true })`;
    await page.send('Page.addScriptToEvaluateOnNewDocument', { source: hidden });
    await page.goto(urlOf('hidden'));
    await says(page, /"version":"1"/);
    assertNoErrors(page);
  });

  await t.test('one that was there before its router was killed gets to the app behind the next one', async () => {
    await apply('later', { MODE: 'slow', DELAY_MS: '6000' });
    const page = await browser.open();
    await page.goto(urlOf('later'));
    await says(page, /Waiting for its first answer/);
    await stack.kill('router0', 'SIGKILL');
    await stack.spawn('router0');
    await says(page, /"version":"1"/);
    // The browser also logs that the page was unreachable for a moment; a failing script would stand out.
    assert.deepEqual(
      page.errors.filter((error) => !error.startsWith('network: ')),
      [],
    );
  });
});
