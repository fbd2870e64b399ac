/**
 * The promises of agent/platform/platform.ts as one suite, for every platform. A platform's own test file gives it the
 * ground; the promises are in contract-*.ts, by what they are about.
 */
import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { failurePromises } from './contract-failures.ts';
import { logPromises } from './contract-logs.ts';
import { ownershipPromises } from './contract-ownership.ts';
import { preparePromises } from './contract-prepare.ts';
import { readyPromises } from './contract-ready.ts';
import { startPromises } from './contract-start.ts';
import { stopPromises } from './contract-stop.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { type ContractOptions } from './ground.ts';

export function platformContract(options: ContractOptions): void {
  void describe(`the ${options.name} platform`, { skip: options.skip ?? false }, () => {
    let resourcesBefore = 0;
    before(() => {
      resourcesBefore = openResources().length;
    });
    after(async () => {
      await until(() => openResources().length <= resourcesBefore, 'the suite leaves nothing open', {
        withinMs: 5_000,
      }).catch(() => assert.fail(`left open: ${openResources().join(', ')}`));
    });
    startPromises(options);
    readyPromises(options);
    preparePromises(options);
    failurePromises(options);
    stopPromises(options);
    ownershipPromises(options);
    logPromises(options);
  });
}

/** Processes, sockets and servers; timers are left out, for the test runner has its own. */
function openResources(): string[] {
  return process.getActiveResourcesInfo().filter((name) => /process|tcp|tls|server/i.test(name));
}
