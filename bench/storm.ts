/**
 * Do clients that give up after a second and come again wear the router down? 200 calls a second, for half an hour: half of
 * them for an app that takes a minute to start, and then sleeps again, half for one that takes a minute to answer.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { request } from 'undici';
import { systemClock } from '../shared/wait/clock.ts';
import type { Route, Serving } from '../shared/protocol/routes.ts';
import { sleep } from '../shared/wait/sleep.ts';
import { startFakeAgent, type FakeAgent } from './rig/fake-agent.ts';
import { loopStall } from './rig/loop-stall.ts';
import { rssBytes } from './rig/machine.ts';
import type { Bench, Question } from './rig/question.ts';
import { startRouter } from './rig/router.ts';
import { median, quantile } from './rig/statistics.ts';
import { table } from './rig/table.ts';

const callsASecond = 200;
const patienceMs = 1_000;
const slowMs = 60_000;
const awakeMs = 5_000;
const sampleMs = 10_000;

interface Sample {
  readonly minute: number;
  readonly rssMb: number;
  readonly heapMb: number;
  readonly held: number;
  readonly connections: number;
  readonly upstream: number;
  readonly stallCpuMs: number;
  readonly stallWallMs: number;
}

interface Tally {
  sent: number;
  answered: number;
  gaveUp: number;
  /** The router refused, or the connection broke. */
  other: number;
}

export const storm: Question = async (bench) => {
  const { options, signal, say } = bench;
  const app = await startSlowApp(bench);
  const token = randomBytes(24).toString('hex');
  const target = { id: 'storm', host: '127.0.0.1', port: app };
  const ready: Serving = {
    state: 'ready',
    targets: [target],
    pending: null,
    timings: { buildMs: null, rolloutMs: slowMs },
  };
  const asleep: Serving = { state: 'hold', reason: 'asleep' };
  const agent = await startFakeAgent({
    token,
    routes: [routeOf('cold', asleep), routeOf('slow', ready)],
    ensure: (name, _version, abort) => start(agent, { name, ready, asleep }, abort),
  });
  bench.after(() => agent.close());
  const router = await startRouter(bench, { agentUrl: agent.url, token, watchLoop: true });
  const tally: Tally = { sent: 0, answered: 0, gaveUp: 0, other: 0 };
  const endMs = performance.now() + options.minutes * 60_000;
  const samples: Sample[] = [];
  const calls = callAgain(router.hello.port, tally, () => performance.now() < endMs, signal);
  const beganMs = performance.now();
  while (performance.now() < endMs - sampleMs / 2) {
    await sleep(systemClock, Math.min(sampleMs, Math.max(100, endMs - performance.now() - 500)), signal);
    signal.throwIfAborted();
    const sample = await look(bench, router, (performance.now() - beganMs) / 60_000);
    samples.push(sample);
    const { minute, rssMb, held, stallCpuMs } = sample;
    if (samples.length % 6 === 0) {
      say(`storm: minute ${minute.toFixed(1)}, ${rssMb.toFixed(0)} MB, ${held} held, ${stallCpuMs.toFixed(0)} ms`);
    }
  }
  await calls;
  await sleep(systemClock, 2 * patienceMs, signal);
  const after = await look(bench, router, (performance.now() - beganMs) / 60_000);
  await router.stop();
  return report(options.minutes, samples, after, tally);
};

/** Plays the agent for one ensured app: ready after a minute, asleep again a moment later. */
async function start(
  agent: FakeAgent,
  { name, ready, asleep }: { readonly name: string; readonly ready: Serving; readonly asleep: Serving },
  abort: AbortSignal,
): Promise<void> {
  await sleep(systemClock, slowMs, abort);
  if (abort.aborted) return;
  agent.hub.publish(routeOf(name, ready));
  void sleep(systemClock, awakeMs, abort).then(() => agent.hub.publish(routeOf(name, asleep)));
}

function routeOf(app: string, serving: Serving): Route {
  return {
    app,
    host: '',
    path: `/${app}`,
    stripPath: false,
    version: 1,
    serving,
    holdMaxCalls: 5_000,
    holdTimeoutMs: 300_000,
    maxConcurrency: 0,
  };
}

/** Answers what is asked of the cold one at once, and the slow one after a minute. */
async function startSlowApp(bench: Bench): Promise<number> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      const answer = (): void => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      if (chunk.includes('/cold')) answer();
      else {
        const timer = setTimeout(answer, slowMs);
        socket.once('close', () => clearTimeout(timer));
      }
    });
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 });
  await once(server, 'listening');
  bench.after(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

/** Calls at an even pace, each on a connection of its own, until there is no time left. */
async function callAgain(port: number, tally: Tally, goesOn: () => boolean, signal: AbortSignal): Promise<void> {
  const beganMs = performance.now();
  while (goesOn() && !signal.aborted) {
    const due = Math.floor(((performance.now() - beganMs) / 1_000) * callsASecond);
    for (; tally.sent < due; tally.sent += 1) callOnce(port, tally.sent % 2 === 0 ? '/cold' : '/slow', tally);
    await sleep(systemClock, 5, signal);
  }
}

function callOnce(port: number, path: string, tally: Tally): void {
  let ended = false;
  const end = (how: 'answered' | 'gaveUp' | 'other'): void => {
    if (ended) return;
    ended = true;
    tally[how] += 1;
    clearTimeout(timer);
    socket.destroy();
  };
  const socket = connect({ host: '127.0.0.1', port, noDelay: true }, () => {
    socket.write(`GET ${path} HTTP/1.1\r\nHost: bench.example\r\n\r\n`);
  });
  const timer = setTimeout(() => end('gaveUp'), patienceMs);
  socket.on('data', (chunk: Buffer) => end(chunk.includes('HTTP/1.1 200') ? 'answered' : 'other'));
  socket.on('error', () => end('other'));
  socket.on('close', () => end('other'));
}

async function look(
  bench: Bench,
  router: { readonly pid: number; readonly hello: { readonly adminPort?: number } },
  minute: number,
): Promise<Sample> {
  const { body } = await request(`http://127.0.0.1:${router.hello.adminPort}/metrics`, { signal: bench.signal });
  const text = await body.text();
  const metric = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
  const stall = await loopStall(router.pid, bench.signal);
  return {
    minute,
    rssMb: rssBytes(router.pid) / 1e6,
    heapMb: stall.heapBytes / 1e6,
    held: metric('holdfast_router_held_calls'),
    connections: metric('holdfast_router_connections'),
    upstream: metric('holdfast_router_upstream_sockets'),
    stallCpuMs: stall.cpuMs,
    stallWallMs: stall.wallMs,
  };
}

function report(minutes: number, samples: readonly Sample[], after: Sample, tally: Tally): string {
  const tenth = Math.max(1, Math.floor(samples.length / 10));
  const parts = Array.from({ length: 10 }, (_, part) =>
    samples.slice(part * tenth, part === 9 ? undefined : (part + 1) * tenth),
  );
  const rows = parts
    .filter((part) => part.length > 0)
    .map((part) => [
      `${part[0]?.minute.toFixed(1)}–${part.at(-1)?.minute.toFixed(1)}`,
      ...(['rssMb', 'heapMb', 'held', 'connections', 'upstream'] as const).map((key) =>
        median(part.map((sample) => sample[key])).toFixed(0),
      ),
      Math.max(...part.map(({ stallCpuMs }) => stallCpuMs)).toFixed(0),
      Math.max(...part.map(({ stallWallMs }) => stallWallMs)).toFixed(0),
    ]);
  rows.push([
    'after, 2 s',
    ...(['rssMb', 'heapMb', 'held', 'connections', 'upstream'] as const).map((key) => after[key].toFixed(0)),
    after.stallCpuMs.toFixed(0),
    after.stallWallMs.toFixed(0),
  ]);
  const third = Math.floor(samples.length / 3);
  const early = median(samples.slice(third, 2 * third).map(({ rssMb }) => rssMb));
  const late = median(samples.slice(2 * third).map(({ rssMb }) => rssMb));
  const stalls = samples.map(({ stallCpuMs }) => stallCpuMs);
  return `${minutes} minutes, ${callsASecond} calls a second: ${tally.sent} calls, ${tally.answered} answered, ${tally.gaveUp} given up by their clients, ${tally.other} refused or broken. Resident memory in the last third to the second: ${(late / early).toFixed(2)}. Longest use of the processor between two looks at the loop: median of ten-second spans ${median(stalls).toFixed(0)} ms, p99 ${quantile(stalls, 0.99).toFixed(0)} ms.

${table(['minutes', 'resident MB', 'heap MB', 'held', 'connections', 'upstream sockets', 'longest loop stall, CPU ms', 'by the clock'], rows)}`;
}
