/** What does a held call cost, and how long does it wait once its app answers? Agent and router as processes here. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';
import { systemClock } from '../shared/wait/clock.ts';
import { sleep } from '../shared/wait/sleep.ts';
import { callOnce, Callers, msBetween, type Answers } from './rig/callers.ts';
import { loopStall, type LoopStall } from './rig/loop-stall.ts';
import { rssBytes } from './rig/machine.ts';
import type { Bench, Question } from './rig/question.ts';
import { Stack } from './rig/stack.ts';
import { median, quantile, spread } from './rig/statistics.ts';
import { table } from './rig/table.ts';
import { until } from './rig/until.ts';

const appFolder = fileURLToPath(new URL('apps/stamp', import.meta.url));
const heldWithinMs = 60_000;
/** Time for the garbage of connecting to be collected; the same for both. */
const settleMs = 1_000;
const warmCalls = 500;
const config = { add_slash: false, container: { idle_shutdown_secs: 1 } };

export const hold: Question = async (bench) => {
  const { options, say } = bench;
  const stack = await Stack.start(bench);
  const gate = join(bench.folder, 'gate');
  await stack.call('apps.apply', {
    apps: [
      {
        name: 'held',
        path: '/held',
        source: appFolder,
        env: { GATE: gate },
        config: { ...config, hold: { max_calls: options.calls } },
      },
      { name: 'woken', path: '/woken', source: appFolder, config },
    ],
  });
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    rounds.push({ ...(await holdInRouter(bench, stack, gate)), peerBytes: await holdInPeer(bench) });
    say(`hold: round ${round + 1} of ${options.rounds}`);
  }
  const wakes = await wakeAgain(bench, stack);
  return report(options, stack.database, rounds, wakes);
};

interface Round {
  /** Memory of a held call. */
  readonly routerBytes: number;
  readonly peerBytes: number;
  /** From the open port of the app to the last answer. */
  readonly releaseMs: number;
  /** The same calls again on the same connections, nothing held. */
  readonly burstMs: number;
  /** The same on as many connections to the app itself. */
  readonly directMs: number;
  /** The router's, from the open port to the last answer. */
  readonly stall: LoopStall;
  readonly outOfOrder: number;
}

async function holdInRouter(bench: Bench, stack: Stack, gate: string): Promise<Omit<Round, 'peerBytes'>> {
  const { signal, options } = bench;
  await stack.asleep('held');
  const router = await stack.router({ watchLoop: true });
  const { port, adminPort } = router.hello;
  const count = async (): Promise<number> => {
    const metrics = await textOf(`http://127.0.0.1:${adminPort}/metrics`, signal);
    return Number(/^holdfast_router_held_calls (\d+)$/m.exec(metrics)?.[1]);
  };
  const { callers, bytes } = await holdCalls({
    bench,
    pid: router.pid,
    port,
    warmPath: '/nothing-here',
    path: '/held',
    count,
  });
  let round;
  try {
    await loopStall(router.pid, signal);
    await writeFile(gate, '');
    const released = await callers.answered();
    const stall = await loopStall(router.pid, signal);
    await rm(gate);
    callers.send('/held');
    const burst = await callers.answered();
    callers.close();
    const app = saidBy(released);
    const direct = await callDirectly(app.port, options.calls, signal);
    round = {
      routerBytes: bytes / options.calls,
      releaseMs: msBetween(app.openedNs, released.lastAnswerNs),
      burstMs: msBetween(burst.sentNs, burst.lastAnswerNs),
      directMs: msBetween(direct.sentNs, direct.lastAnswerNs),
      stall,
      outOfOrder: released.mostOutOfOrder,
    };
  } finally {
    callers.close();
  }
  await stack.asleep('held');
  await router.stop();
  return round;
}

async function callDirectly(port: number, count: number, signal: AbortSignal): Promise<Answers> {
  const callers = await Callers.connect({ port }, count, signal);
  try {
    callers.send('/');
    return await callers.answered();
  } finally {
    callers.close();
  }
}

/** Reads the port of the app, and when it was opened, from its answer. */
function saidBy({ body }: Answers): { readonly port: number; readonly openedNs: bigint } {
  // The router may have framed it in chunks.
  const { port, openedNs } = JSON.parse(body.slice(body.indexOf('{'), body.indexOf('}') + 1)) as {
    port: string;
    openedNs: string;
  };
  return { port: Number(port), openedNs: BigInt(openedNs) };
}

async function holdInPeer(bench: Bench): Promise<number> {
  const { processes, signal, options } = bench;
  const peer = await processes.start({
    name: 'holding server',
    args: [new URL('peers/holding-server.ts', import.meta.url)],
  });
  const { port } = peer.hello;
  const count = async (): Promise<number> => Number(await textOf(`http://127.0.0.1:${port}/count`, signal));
  const { callers, bytes } = await holdCalls({ bench, pid: peer.pid, port, warmPath: '/warm', path: '/held', count });
  callers.close();
  await peer.stop();
  return bytes / options.calls;
}

/** @returns the waiting callers, and by how much they have made the process larger. */
async function holdCalls(one: {
  readonly bench: Bench;
  readonly pid: number;
  readonly port: number;
  readonly warmPath: string;
  readonly path: string;
  /** How many the process holds. */
  readonly count: () => Promise<number>;
}): Promise<{ readonly callers: Callers; readonly bytes: number }> {
  const { bench, pid, port, warmPath, path, count } = one;
  const { signal, options } = bench;
  // What a process needs once, for its first calls, is not a call's memory.
  for (let call = 0; call < warmCalls; call += 1) await textOf(`http://127.0.0.1:${port}${warmPath}`, signal);
  const before = rssBytes(pid);
  const callers = await Callers.connect({ port }, options.calls, signal);
  try {
    callers.send(path);
    const what = `${options.calls} calls are held`;
    await until({ withinMs: heldWithinMs, everyMs: 100, what, signal }, async () => (await count()) === options.calls);
    await sleep(systemClock, settleMs, signal);
    signal.throwIfAborted();
    return { callers, bytes: rssBytes(pid) - before };
  } catch (error) {
    callers.close();
    throw error;
  }
}

interface Wake {
  /** From the open port of the app to the first byte at the caller. */
  readonly releaseMs: number;
  /** From the call to the first byte. */
  readonly wholeMs: number;
  /** A call on a new connection right after. */
  readonly warmMs: number;
}

async function wakeAgain(bench: Bench, stack: Stack): Promise<Wake[]> {
  const { options, signal, say } = bench;
  const router = await stack.router();
  const { port } = router.hello;
  const wakes: Wake[] = [];
  for (let tries = 0; wakes.length < options.wakes && tries < 2 * options.wakes; tries += 1) {
    await stack.asleep('woken');
    const woken = await callOnce({ port }, '/woken', signal);
    // The call came before the process had ended and kept it running: not a wake.
    if (saidBy(woken).openedNs < woken.sentNs) continue;
    const warm = await callOnce({ port }, '/woken', signal);
    wakes.push({
      releaseMs: msBetween(saidBy(woken).openedNs, woken.firstByteNs),
      wholeMs: msBetween(woken.sentNs, woken.firstByteNs),
      warmMs: msBetween(warm.sentNs, warm.firstByteNs),
    });
    if (wakes.length % 5 === 0) say(`hold: wake ${wakes.length} of ${options.wakes}`);
  }
  return wakes;
}

async function textOf(url: string, signal: AbortSignal): Promise<string> {
  const { body } = await request(url, { signal });
  return body.text();
}

function report(
  { calls }: Bench['options'],
  database: string,
  rounds: readonly Round[],
  wakes: readonly Wake[],
): string {
  const kb = (key: 'routerBytes' | 'peerBytes'): string =>
    spread(
      rounds.map((round) => round[key] / 1_000),
      1,
    );
  const ms = (key: 'releaseMs' | 'burstMs' | 'directMs'): string =>
    spread(
      rounds.map((round) => round[key]),
      0,
    );
  const held = table(
    [`${calls} calls held at once`, 'Holdfast router', 'peer', 'ratio'],
    [
      [
        'memory per held call, kB; peer: node:http that only holds',
        kb('routerBytes'),
        kb('peerBytes'),
        spread(
          rounds.map(({ routerBytes, peerBytes }) => routerBytes / peerBytes),
          2,
        ),
      ],
      [
        'app ready → last call answered, ms; peer: the same calls at once, warm',
        ms('releaseMs'),
        ms('burstMs'),
        spread(
          rounds.map(({ releaseMs, burstMs }) => releaseMs / burstMs),
          2,
        ),
      ],
      [
        'the same calls at once through the router, warm, ms; peer: straight to the app',
        ms('burstMs'),
        ms('directMs'),
        spread(
          rounds.map(({ burstMs, directMs }) => burstMs / directMs),
          2,
        ),
      ],
    ],
  );
  const most = (values: readonly number[]): string => spread(values, 0);
  const released = table(
    [`${calls} calls released`, 'measured'],
    [
      ['longest loop stall of the router, CPU ms', most(rounds.map(({ stall }) => stall.cpuMs))],
      ['… by the clock, ms', most(rounds.map(({ stall }) => stall.wallMs))],
      [
        'largest displacement of an answer from the order of the calls, places',
        most(rounds.map(({ outOfOrder }) => outOfOrder)),
      ],
    ],
  );
  const warm = median(wakes.map(({ warmMs }) => warmMs));
  const row = (what: string, key: keyof Wake): string[] => {
    const times = wakes.map((one) => one[key]);
    const shown = [0.5, 0.99].map((share) => quantile(times, share).toFixed(1));
    return [what, ...shown, (median(times) / warm).toFixed(1)];
  };
  const woken = table(
    [`${wakes.length} wakes`, 'p50 ms', 'p99 ms', 'p50, ratio to a warm call'],
    [
      row('app ready → first byte at the held client', 'releaseMs'),
      row('whole wake: call → first byte', 'wholeMs'),
      row('warm call, new connection', 'warmMs'),
    ],
  );
  return `${rounds.length} rounds, each with a router and a peer of its own; process platform, ${database}, nothing pinned. Median (least–most).

${held}

${released}

${woken}`;
}
