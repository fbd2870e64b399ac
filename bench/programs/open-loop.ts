/**
 * An open loop on raw sockets: GETs begin at a fixed rate, on whichever connection is free, and a call that finds none free
 * waits; its time counts from when it should have begun. Takes an OpenLoopJob as JSON in its argument, prints a LoadResult.
 */
import { connect, type Socket } from 'node:net';
import { isWhole } from './framing.ts';
import type { LoadResult } from './load.ts';

export interface OpenLoopJob {
  readonly port: number;
  readonly path: string;
  readonly connections: number;
  readonly perSecond: number;
  readonly durationMs: number;
}

const job = JSON.parse(process.argv[2] ?? '') as OpenLoopJob;
const request = Buffer.from(
  `GET ${job.path} HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: holdfast-bench\r\nAccept: */*\r\n\r\n`,
);
const free: { readonly socket: Socket; dueMs: number }[] = [];
const waiting: number[] = [];
const times: number[] = [];
let busy = 0;
process.on('disconnect', () => process.exit(1));

function fail(what: string): never {
  process.stderr.write(`open loop on port ${job.port}: ${what}\n`);
  process.exit(1);
}

function open(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: job.port, noDelay: true });
    const caller = { socket, dueMs: 0 };
    let pending = '';
    socket.on('connect', () => {
      free.push(caller);
      resolve();
    });
    socket.on('data', (chunk: Buffer) => {
      pending += chunk.toString('latin1');
      if (!isWhole(pending)) return;
      if (!pending.startsWith('HTTP/1.1 200')) fail(pending.slice(0, 200));
      pending = '';
      times.push(performance.now() - caller.dueMs);
      busy -= 1;
      free.push(caller);
      send();
    });
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => fail('connection lost'));
  });
}

function send(): void {
  while (waiting.length > 0) {
    const caller = free.pop();
    if (caller === undefined) return;
    caller.dueMs = waiting.shift() ?? 0;
    busy += 1;
    caller.socket.write(request);
  }
}

await Promise.all(Array.from({ length: job.connections }, open));
const startMs = performance.now();
let begun = 0;
await new Promise<void>((resolve) => {
  const step = (): void => {
    const sinceMs = Math.min(performance.now() - startMs, job.durationMs);
    const due = Math.floor((sinceMs * job.perSecond) / 1_000);
    for (; begun < due; begun += 1) waiting.push(startMs + (begun * 1_000) / job.perSecond);
    send();
    if (sinceMs < job.durationMs || busy > 0 || waiting.length > 0) setImmediate(step);
    else resolve();
  };
  step();
});
const elapsedMs = performance.now() - startMs;
const sorted = Float64Array.from(times).sort();
const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
const result: LoadResult = { calls: times.length, elapsedMs, p50Ms: at(0.5), p99Ms: at(0.99) };
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
