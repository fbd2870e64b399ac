/** From a git repository to an answer: first calls, equal inputs, new commits, and who may leave meanwhile. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { request } from 'undici';
import { callAtOnce, versionOf } from '../../support/load.ts';
import { startChromium } from '../../support/chromium.ts';
import { eventually } from '../../../shared/wait/testing/eventually.ts';
import { killContainers, pods } from '../cluster.ts';
import { allAnswered, said, until, urlsOf, warmLoad } from '../scenario.ts';
import { appOf, applySource, buildsOf, gitApp, jobs, type BuildGround } from './ground.ts';

/** Notes each step that the waiting page shows, with what it says of it. */
const noteSteps = `addEventListener('DOMContentLoaded', () => {
  const main = document.querySelector('main[data-step]');
  if (main === null) return;
  const note = () => {
    const line = document.querySelector('[aria-current]').textContent + ': ' + document.getElementById('status').textContent;
    const before = sessionStorage.getItem('steps') ?? '';
    if (!before.endsWith(line + '\\n')) sessionStorage.setItem('steps', before + line + '\\n');
  };
  note();
  new MutationObserver(note).observe(main, { attributes: true, childList: true, characterData: true, subtree: true });
});`;

export function sources(ground: BuildGround): void {
  const { release } = ground;

  test('a git repository: nothing before the first call, which is held, built and answered', async () => {
    const repository = await ground.git.repository('first');
    const commit = await repository.commit(appOf('one'));
    await applySource(ground, gitApp('first', repository.url));
    assert.deepEqual(await jobs(ground), []);
    const [url = ''] = await urlsOf(release, 'first');
    const [record] = await callAtOnce(url, 1, 240_000);
    assert.equal(record?.status, 200, record?.body);
    assert.equal(versionOf(record), 'one');
    assert.ok(record.held);
    const { versions } = await release.call('versions.list', { app: 'first' });
    assert.equal(versions[0]?.sourceDigest, `git:${commit}`);
    assert.match(versions[0]?.imageDigest ?? '', /^sha256:[0-9a-f]{64}$/);
    assert.ok((versions[0]?.timings?.buildMs ?? 0) > 0);
    const logs = await release.cli('logs', 'first', '--build');
    assert.equal(logs.code, 0, logs.stderr);
    assert.match(logs.stdout, /COPY server\.mjs/);
  });

  test('a browser that opens an app that is not built sees it built, rolled out and started, and gets to it by itself', async (t) => {
    const repository = await ground.git.repository('paged');
    await repository.commit(appOf('paged', 'RUN sleep 2', 'ENV OPENS_AFTER_MS=2000'));
    await applySource(ground, `${gitApp('paged', repository.url)}[app.config]\nwaiting_page = true\n`);
    const [url = ''] = await urlsOf(release, 'paged');
    const page = await (await startChromium(t)).open();
    // Kept where the page that comes after finds it.
    await page.send('Page.addScriptToEvaluateOnNewDocument', { source: noteSteps });
    await page.goto(url);
    await eventually(240_000, async () => {
      assert.match(String(await page.evaluate('document.body?.innerText ?? ""')), /"version":"paged"/);
    });
    const seen = String(await page.evaluate(`sessionStorage.getItem('steps')`))
      .trim()
      .split('\n');
    t.diagnostic(seen.join(' | '));
    assert.deepEqual([...new Set(seen.map((line) => line.split(': ')[0]))], ['Build', 'Roll out', 'Start']);
    // Each once: what is fetched, looked for and built goes one way.
    assert.equal(seen.filter((line) => line === 'Build: Building the image.').length, 1);
    assert.ok(seen.includes('Start: Waiting for its first answer.'));
    assert.equal(await page.evaluate('location.href'), url);
  });

  test('a second app with equal input shares the image: nothing is built', async () => {
    const before = await buildsOf(ground);
    const repository = await ground.git.repository('twin');
    await repository.commit(appOf('one'));
    await applySource(ground, gitApp('twin', repository.url));
    const [url = ''] = await urlsOf(release, 'twin');
    allAnswered(await callAtOnce(url, 1, 240_000));
    assert.deepEqual(
      (await buildsOf(ground)).map(({ tag }) => tag),
      before.map(({ tag }) => tag),
    );
  });

  test('a new commit at 50 calls/s: v1 answers until apply, then v2, by one build, and no call fails', async (t) => {
    const repository = await ground.git.repository('moving');
    await repository.commit(appOf('m1'));
    await applySource(ground, gitApp('moving', repository.url));
    const [url = ''] = await urlsOf(release, 'moving');
    allAnswered(await callAtOnce(url, 1, 240_000));
    const load = await warmLoad(t, release, 'moving');
    await repository.commit(appOf('m2'));
    const before = load.records.length;
    await until(10_000, () => load.records.length > before + 50, 'no load');
    assert.ok(!said(load, 'm2'));
    await applySource(ground, gitApp('moving', repository.url));
    const returnedMs = performance.now();
    await until(120_000, () => said(load, 'm2'), 'v2 does not answer');
    const records = await load.stop();
    allAnswered(records);
    assert.deepEqual(
      records.filter((record) => record.startMs > returnedMs && versionOf(record) === 'm1'),
      [],
    );
    assert.equal((await buildsOf(ground, 'moving')).length, 2);
  });

  test('200 concurrent first calls make one Job, and the first caller may leave', async () => {
    const repository = await ground.git.repository('crowd');
    await repository.commit(appOf('crowd', 'RUN sleep 3'));
    await applySource(ground, gitApp('crowd', repository.url));
    const [url = ''] = await urlsOf(release, 'crowd');
    const leaves = new AbortController();
    const first = request(url, { signal: leaves.signal }).catch((error: unknown) => error);
    await until(60_000, async () => (await jobs(ground)).some(({ status }) => status.active === 1), 'no Job');
    leaves.abort();
    await first;
    const [job] = (await jobs(ground)).filter(({ status }) => status.active === 1);
    const held = callAtOnce(url, 200, 240_000);
    allAnswered(await held);
    assert.equal((await buildsOf(ground, 'crowd')).length, 1);
    assert.ok(job);
  });

  test('the leading agent is killed with -9 in mid-build: the same Job finishes, and the held calls are answered', async () => {
    const repository = await ground.git.repository('orphan');
    await repository.commit(appOf('orphan', 'RUN sleep 15'));
    await applySource(ground, gitApp('orphan', repository.url));
    const [url = ''] = await urlsOf(release, 'orphan');
    const held = callAtOnce(url, 20, 240_000);
    const active = async () => (await jobs(ground)).filter(({ status }) => status.active === 1);
    await until(60_000, async () => (await active()).length === 1, 'no Job');
    const [job] = await active();
    const [leader] = await pods(release.namespace, 'holdfast.dev/role=leader');
    assert.ok(leader);
    await killContainers(leader);
    const uids = new Set<string>();
    let isOver = false;
    const watching = until(
      240_000,
      async () => {
        for (const { metadata } of await jobs(ground)) uids.add(metadata.uid);
        return isOver;
      },
      'the calls are not answered',
    );
    const records = await held;
    isOver = true;
    await watching;
    allAnswered(records);
    assert.deepEqual([...uids], [job?.metadata.uid]);
    await release.settled();
  });
}
