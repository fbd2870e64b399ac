/** An app with `max_replicas`: the HorizontalPodAutoscaler and the agent each keep to their part. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callAtOnce, outcomes, startLoad, type CallRecord } from '../support/load.ts';
import { kubectl, pods } from './cluster.ts';
import { allAnswered, applied, said, until, urlsOf, type Scenario } from './scenario.ts';

const app = 'grows';
const most = 3;
/** A twentieth of a core is asked for, half of that is aimed at; the load takes about a fifth. */
const keys = `cpus = "50m"\nmax_replicas = ${most}`;
const config = 'kubernetes.scaling_threshold_cpu = 50\ncontainer.idle_shutdown_secs = 5';
const burnMs = 4;
const callsPerSecond = 40;

export const autoscale: Scenario = (release) => {
  const deployment = async (path: string): Promise<string> =>
    await kubectl('get', 'deployment', '-n', release.appsNamespace, 'hf-grows-v2', '-o', `jsonpath={${path}}`);
  const machineOf = ({ body }: CallRecord): string => /"machine":"([^"]*)"/.exec(body)?.[1] ?? '';

  test('under load it grows to max_replicas and calls go to every pod, those of a new version too; idle, it goes to zero and stays there', async (t) => {
    await applied(release, { name: app, says: '1', keys, config });
    const urls = (await urlsOf(release, app)).map((url) => `${url}burn?ms=${burnMs}`);
    const load = startLoad({ urls, callsPerSecond });
    t.after(() => load.stop());
    await until(
      120_000,
      async () => (await pods(release.appsNamespace, `holdfast.dev/app=${app}`)).length === most,
      'the app does not grow',
    );
    // The router picks the target with the fewest calls in flight, and takes turns among equals: about a third each.
    const leastShare = (): number => {
      const recent = load.records.slice(-60).map(machineOf);
      const machines = [...new Set(recent)];
      const shares = machines.map((one) => recent.filter((other) => other === one).length / recent.length);
      return machines.length === most ? Math.min(...shares) : 0;
    };
    await until(60_000, () => leastShare() > 0.2, 'calls do not go to every pod');

    // A version that follows begins with as many as the load has made of the one before.
    await applied(release, { name: app, says: '2', keys, config });
    await until(30_000, () => said(load, '2'), 'v2 does not answer');
    assert.equal(await deployment('.spec.replicas'), String(most));
    allAnswered(await load.stop());

    // The agent's zero is final for the autoscaler, and the autoscaler's number no drift for the agent.
    await until(90_000, async () => (await deployment('.spec.replicas')) === '0', 'it does not go to zero');
    const agents = await kubectl(
      'logs',
      '-n',
      release.namespace,
      '-l',
      'app.kubernetes.io/component=agent',
      '--tail=-1',
    );
    assert.doesNotMatch(agents, /"app":"grows".*is not as it was applied/);
    const condition = '{.status.conditions[?(@.type=="ScalingActive")].reason}';
    await until(
      30_000,
      async () =>
        (await kubectl('get', 'hpa', '-n', release.appsNamespace, 'hf-grows-v2', '-o', `jsonpath=${condition}`)) ===
        'ScalingDisabled',
      'the autoscaler does not rest',
    );
    assert.equal(await deployment('.spec.replicas'), '0');
    assert.deepEqual(outcomes(await callAtOnce(urls[0] ?? '', 1)), { 200: 1 });
    assert.equal(await deployment('.spec.replicas'), '1');
  });
};
