/** The scenarios on one release of the chart: Postgres of its own, images from the registry of the cluster. */
import { after, before, suite } from 'node:test';
import { registryHost } from './cluster.ts';
import { failures } from './failures.ts';
import { outages } from './outages.ts';
import { Release } from './release.ts';
import { repairs } from './repairs.ts';
import { updates } from './updates.ts';

const release = new Release('holdfast-e2e');

before(async () => {
  await release.install(
    'registry.enabled=false',
    `externalRegistry.url=${registryHost()}`,
    'externalRegistry.insecure=true',
  );
});
after(() => release.uninstall());

suite('updates', () => updates(release));
suite('failures', () => failures(release));
suite('repairs', () => repairs(release));
suite('outages', () => outages(release));
