/** The dependencies of a process platform in tests: this machine's Node.js and environment, real time, no log. */
import { silentLog } from '../../shared/log.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import type { ProcessPlatformDeps } from '../platform/process/platform.ts';

export const testPlatformDeps: Omit<ProcessPlatformDeps, 'dataDir'> = {
  nodePath: process.execPath,
  env: process.env,
  clock: systemClock,
  log: silentLog,
};
