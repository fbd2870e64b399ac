/**
 * Loaded before a program (`node --import`): how long its event loop stood still at most, by the clock and by the processor
 * time of its thread, which others on the machine do not lengthen. Told to a file at SIGUSR2, and begun anew.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { loopFile } from '../rig/loop-stall.ts';

const everyMs = 4;

let wallMs = 0;
let cpuMs = 0;
let ticks = 0;
let lastMs = performance.now();
let lastCpu = process.threadCpuUsage();

setInterval(() => {
  const nowMs = performance.now();
  const used = process.threadCpuUsage(lastCpu);
  wallMs = Math.max(wallMs, nowMs - lastMs - everyMs);
  cpuMs = Math.max(cpuMs, (used.user + used.system) / 1_000);
  ticks += 1;
  lastMs = nowMs;
  lastCpu = process.threadCpuUsage();
}, everyMs).unref();

process.on('SIGUSR2', () => {
  const file = loopFile(process.pid);
  writeFileSync(`${file}.new`, JSON.stringify({ wallMs, cpuMs, ticks, heapBytes: process.memoryUsage().heapUsed }));
  renameSync(`${file}.new`, file);
  wallMs = 0;
  cpuMs = 0;
  ticks = 0;
});
