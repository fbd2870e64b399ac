/** What calls are made of besides requests and answers, on real pods: upgrades, streams, a rush, and a pod that dies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fetch } from 'undici';
import { outcomes } from '../support/load.ts';
import { killContainers, pods } from './cluster.ts';
import { applied, until, urlsOf, warmLoad, type Scenario } from './scenario.ts';
import { Conversation } from './websockets.ts';

const idleSecs = 2;
/** Idle for so long, an app would be at zero: its time, and what it takes for reports and looks. */
const longIdleMs = (idleSecs + 6) * 1_000;

export const traffic: Scenario = (release) => {
  const stateOf = async (app: string): Promise<string> => (await release.call('apps.get', { app })).state;
  const asleep = (app: string): Promise<void> =>
    until(60_000, async () => (await stateOf(app)) === 'asleep', `${app} does not go to zero`);

  test('a WebSocket and an event stream are held until their app is up, and keep it up until they end', async (t) => {
    const config = `container.idle_shutdown_secs = ${idleSecs}`;
    await applied(release, { name: 'talking', says: '1', config });
    await applied(release, { name: 'streaming', says: '1', config });
    const [talking = ''] = await urlsOf(release, 'talking');
    const [streaming = ''] = await urlsOf(release, 'streaming');
    const [{ talk, greeting }, stream] = await Promise.all([
      Conversation.open(t, `${talking.replace('http:', 'ws:')}ws`),
      // The stream does not end: what arrives was not buffered.
      fetch(`${streaming}stream?count=1000000&ms=100`),
    ]);
    assert.equal(greeting, 'version 1');
    assert.equal(stream.headers.get('content-type'), 'text/event-stream');
    const reader = (stream.body ?? assert.fail('no body')).getReader();
    t.after(() => reader.cancel().catch(() => undefined));
    const beganMs = performance.now();
    while (performance.now() - beganMs < longIdleMs) {
      const { value, done } = await reader.read();
      assert.equal(done, false);
      assert.match(Buffer.from(value as Uint8Array).toString(), /^data: \d+\n\n/);
    }
    await talk.echoes('still here');
    assert.deepEqual([await stateOf('talking'), await stateOf('streaming')], ['ready', 'ready']);
    talk.close();
    assert.equal(await talk.closed, 1000);
    await reader.cancel();
    await Promise.all([asleep('talking'), asleep('streaming')]);
  });

  test('one of two pods killed with -9 under load: no call fails but those that it had', async (t) => {
    await applied(release, { name: 'pair', says: '1', keys: 'min_replicas = 2\nmax_replicas = 2' });
    const load = await warmLoad(t, release, 'pair');
    const machines = (): Set<string | undefined> =>
      new Set(load.records.slice(-50).map(({ body }) => /"machine":"([^"]*)"/.exec(body)?.[1]));
    await until(30_000, () => machines().size === 2, 'calls do not go to both pods');
    const [pod] = await pods(release.appsNamespace, 'holdfast.dev/app=pair');
    assert.ok(pod);
    const beforeMs = performance.now();
    await killContainers(pod);
    const killedMs = performance.now();
    const after = (): number => load.records.filter(({ startMs }) => startMs > killedMs).length;
    await until(30_000, () => after() > 100, 'calls do not go on');
    await until(60_000, () => machines().size === 2, 'the container does not come back');
    const records = await load.stop();
    // What it has taken it may have begun to work on: nobody may send that again.
    const broken = records.filter(({ status }) => status !== 200);
    assert.deepEqual(
      broken.filter(({ startMs, endMs }) => startMs > killedMs || endMs < beforeMs),
      [],
    );
    assert.ok(Object.keys(outcomes(broken)).every((outcome) => outcome === '502 upstream_reset'));
  });
};
