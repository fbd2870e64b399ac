import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leadsElsewhere } from './switch.ts';

const versions = new Map([
  ['old', 1],
  ['new', 2],
]);
const slice = (pod: string, conditions?: { readonly ready?: boolean; readonly serving?: boolean }) => ({
  addressType: 'IPv4',
  endpoints: [
    { addresses: [], targetRef: { kind: 'Pod', name: pod }, ...(conditions === undefined ? {} : { conditions }) },
  ],
});
const elsewhere = (...slices: Parameters<typeof leadsElsewhere>[0]): boolean =>
  leadsElsewhere(slices, 2, (pod) => versions.get(pod));

test('a Service without endpoints leads nowhere else', () => {
  assert.equal(elsewhere(), false);
  assert.equal(elsewhere({ ...slice('new'), endpoints: null } as never), false);
});

test('a Service leads elsewhere while a pod of another version, or an unknown one, gets traffic', () => {
  assert.equal(elsewhere(slice('new', { ready: true })), false);
  assert.equal(elsewhere(slice('new'), slice('old', { ready: true })), true);
  assert.equal(elsewhere(slice('old')), true, 'absent conditions count as true');
  assert.equal(elsewhere(slice('old', { ready: false, serving: true })), true);
  assert.equal(elsewhere(slice('old', { ready: false, serving: false })), false);
  assert.equal(elsewhere(slice('unknown', { ready: true })), true);
});
