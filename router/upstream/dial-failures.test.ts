import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../shared/log.ts';
import { asleep, routeOf } from '../testing/router.ts';
import { createDialFailures } from './dial-failures.ts';
import { UpstreamTarget } from './target.ts';
import type { TransportDeps } from './transport.ts';

interface Case {
  readonly what: string;
  /** How the dials of the first target failed, in a row. */
  readonly dials: readonly ('refused' | 'timed out')[];
  /** Whether the app has another target that takes calls. */
  readonly hasOther: boolean;
  readonly setAside: boolean;
  /** How often the agent is asked to look at the target. */
  readonly suspected: number;
}

const cases: readonly Case[] = [
  { what: 'refuses', dials: ['refused'], hasOther: false, setAside: true, suspected: 1 },
  { what: 'is late beside another', dials: ['timed out'], hasOther: true, setAside: true, suspected: 0 },
  { what: 'is late and alone', dials: ['timed out'], hasOther: false, setAside: false, suspected: 0 },
  {
    what: 'is late twice and alone',
    dials: ['timed out', 'timed out'],
    hasOther: false,
    setAside: false,
    suspected: 1,
  },
];

for (const { what, dials, hasOther, setAside, suspected } of cases) {
  test(`a target that ${what} is ${setAside ? '' : 'not '}set aside`, () => {
    const targetOf = (id: string): UpstreamTarget =>
      new UpstreamTarget({ id, host: '127.0.0.1', port: 1 }, {} as TransportDeps);
    const target = targetOf('t');
    const targets = hasOther ? [target, targetOf('other')] : [target];
    const route = routeOf('a', asleep);
    const app = { name: 'a', route, targets, inFlight: 0, passive: 0, lastActiveMs: 0, maxTotal: Infinity, bytes: 0 };
    const suspects: string[] = [];
    const onDialFailed = createDialFailures({
      probes: { setAside: (_app, suspect) => (suspect.setAside = true) },
      metrics: { connectFailed: () => undefined, targetSetAside: () => undefined },
      log: silentLog,
      suspect: (_app, id) => suspects.push(id),
    });
    for (const how of dials) onDialFailed(app, target, how === 'timed out');
    assert.deepEqual([target.setAside, suspects.length, target.failures], [setAside, suspected, dials.length]);
  });
}
