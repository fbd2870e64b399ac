/**
 * A closed loop on raw sockets: each connection sends its next request when the answer to the last one is whole. Takes a
 * LoadJob as JSON in its argument, prints a LoadResult. An answer other than 200, or a lost connection, ends it with an error.
 */
import { connect } from 'node:net';
import { isWhole } from './framing.ts';

export interface LoadJob {
  readonly port: number;
  readonly path: string;
  /** 0: GET, else POST. */
  readonly bodyBytes: number;
  readonly connections: number;
  readonly durationMs: number;
}

export interface LoadResult {
  readonly calls: number;
  /** From the first request to the last answer. */
  readonly elapsedMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const job = JSON.parse(process.argv[2] ?? '') as LoadJob;
const fields = 'Host: bench.example\r\nUser-Agent: holdfast-bench\r\nAccept: */*\r\n';
const request = Buffer.from(
  job.bodyBytes === 0
    ? `GET ${job.path} HTTP/1.1\r\n${fields}\r\n`
    : `POST ${job.path} HTTP/1.1\r\n${fields}Content-Type: text/plain\r\nContent-Length: ${job.bodyBytes}\r\n\r\n${'x'.repeat(job.bodyBytes)}`,
);
const times: number[] = [];
const startMs = performance.now();
const endMs = startMs + job.durationMs;

function fail(what: string): never {
  process.stderr.write(`load on port ${job.port}: ${what}\n`);
  process.exit(1);
}

function loop(): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: job.port, noDelay: true });
    let pending = '';
    let sentMs = 0;
    const send = (): void => {
      sentMs = performance.now();
      socket.write(request);
    };
    socket.on('connect', send);
    socket.on('data', (chunk: Buffer) => {
      pending += chunk.toString('latin1');
      if (!isWhole(pending)) return;
      if (!pending.startsWith('HTTP/1.1 200')) fail(pending.slice(0, 200));
      pending = '';
      const nowMs = performance.now();
      times.push(nowMs - sentMs);
      if (nowMs < endMs) return send();
      socket.off('close', lost);
      socket.destroy();
      resolve();
    });
    const lost = (): never => fail('connection lost');
    socket.on('close', lost);
    socket.on('error', (error) => fail(error.message));
  });
}

process.on('disconnect', () => process.exit(1));
await Promise.all(Array.from({ length: job.connections }, loop));
const elapsedMs = performance.now() - startMs;
const sorted = Float64Array.from(times).sort();
const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
const result: LoadResult = { calls: times.length, elapsedMs, p50Ms: at(0.5), p99Ms: at(0.99) };
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
