/** The scenarios on one release of the chart: Postgres of its own, images from the registry of the cluster. */
import { after, before, suite } from 'node:test';
import { autoscale } from './autoscale.ts';
import { registryHost } from './cluster.ts';
import { failures } from './failures.ts';
import { idle } from './idle.ts';
import { outages } from './outages.ts';
import { Release } from './release.ts';
import { repairs } from './repairs.ts';
import { rollouts } from './rollouts.ts';
import { traffic } from './traffic.ts';
import { updates } from './updates.ts';

const release = new Release('holdfast-e2e');

before(async () => {
  await release.install(
    'registry.enabled=false',
    `externalRegistry.url=${registryHost()}`,
    'externalRegistry.insecure=true',
    // What is not over by then is ended, as tests of it see.
    'router.config.drain_timeout_secs=12',
  );
});
after(() => release.uninstall());

suite('updates', () => updates(release));
suite('failures', () => failures(release));
suite('repairs', () => repairs(release));
suite('traffic', () => traffic(release));
suite('idle', () => idle(release));
suite('autoscale', () => autoscale(release));
suite('rollouts', () => rollouts(release));
suite('outages', () => outages(release));
