/** Do slow clients cost more than their sockets, and do the others notice? The router as shipped, beside ten thousand of them. */
import { connect, type Socket } from 'node:net';
import { request } from 'undici';
import { systemClock } from '../shared/wait/clock.ts';
import { sleep } from '../shared/wait/sleep.ts';
import type { LoadResult } from './programs/load.ts';
import { startOneRoute } from './rig/contenders.ts';
import { createLoad } from './rig/load.ts';
import { cpuMs, rssBytes, splitCores } from './rig/machine.ts';
import type { Bench, Question } from './rig/question.ts';
import { startRouter } from './rig/router.ts';
import { spread } from './rig/statistics.ts';
import { table } from './rig/table.ts';
import { until } from './rig/until.ts';

interface Kind {
  readonly name: string;
  readonly count: number;
  readonly says: string;
  /** What it says again and again. */
  readonly trickle?: string;
  readonly reads: boolean;
}

const head = 'Host: bench.example\r\n';
/** Bodies and readers have a socket to the app each, or had one: the others are those that cost their sender nothing. */
const kinds: readonly Kind[] = [
  { name: 'slow heads', count: 4_000, says: `GET /bench/small HTTP/1.1\r\n${head}X-A: `, trickle: 'x', reads: true },
  { name: 'idle after one call', count: 4_000, says: `GET /bench/small HTTP/1.1\r\n${head}\r\n`, reads: true },
  {
    name: 'slow bodies',
    count: 1_000,
    says: `POST /bench/small HTTP/1.1\r\n${head}Content-Length: 100000\r\n\r\n`,
    trickle: 'x',
    reads: true,
  },
  {
    name: 'readers that take nothing of 64 answers of 64 KiB',
    count: 1_000,
    says: `GET /bench/large HTTP/1.1\r\n${head}\r\n`.repeat(64),
    reads: false,
  },
];
const total = kinds.reduce((sum, { count }) => sum + count, 0);
const atOnce = 200;
/** Until those who keep connections to the app from others have been cut off (router/upstream/stalled-answers.ts). */
const settleMs = 5_000;
const trickleMs = 5_000;
const perSecond = 500;
const connections = 16;

interface Sample extends LoadResult {
  readonly rssMb: number;
  readonly cpuShare: number;
}

export const slow: Question = async (bench) => {
  const { options, processes, say, signal } = bench;
  const cores = splitCores();
  const backend = await processes.start({
    name: 'backend',
    args: [new URL('programs/backend.ts', import.meta.url)],
    cores: cores?.rest,
  });
  const route = await startOneRoute(bench, backend.hello.port);
  const load = await createLoad(bench, cores?.rest);
  const alone: Sample[] = [];
  const beside: Sample[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    // A new one each time: what it has kept of the round before would count as what it needs.
    const router = await startRouter(bench, { ...route, cores: cores?.contender });
    const { port, adminPort } = router.hello;
    const measure = async (): Promise<Sample> => {
      const beforeMs = cpuMs(router.pid);
      const job = { port, path: '/bench/small', connections, perSecond, durationMs: options.seconds * 1_000 };
      const result = await load.open(job);
      return {
        ...result,
        rssMb: rssBytes(router.pid) / 1e6,
        cpuShare: (cpuMs(router.pid) - beforeMs) / result.elapsedMs,
      };
    };
    await measure();
    alone.push(await measure());
    const crowd = new Crowd();
    try {
      for (const kind of kinds) await crowd.join(port, kind, signal);
      const what = 'the slow ones are there';
      await until({ withinMs: 60_000, everyMs: 200, what, signal }, async () => {
        const { body } = await request(`http://127.0.0.1:${adminPort}/metrics`, { signal });
        const open = /^holdfast_router_connections (\d+)$/m.exec(await body.text())?.[1];
        // Bodies over the bound were refused, and their clients may have gone.
        return Number(open) >= total - 500;
      });
      await sleep(systemClock, settleMs, signal);
      beside.push(await measure());
    } finally {
      crowd.close();
    }
    await router.stop();
    say(`slow: round ${round + 1} of ${options.rounds}`);
  }
  return report(options, alone, beside);
};

class Crowd {
  readonly #sockets: Socket[] = [];
  readonly #timers: NodeJS.Timeout[] = [];

  async join(port: number, { count, says, trickle, reads }: Kind, signal: AbortSignal): Promise<void> {
    const own: Socket[] = [];
    while (own.length < count) {
      signal.throwIfAborted();
      const batch = Array.from({ length: Math.min(atOnce, count - own.length) }, () =>
        connect({ port, host: '127.0.0.1' }),
      );
      own.push(...batch);
      this.#sockets.push(...batch);
      await Promise.all(
        batch.map((socket) => {
          socket.on('error', () => socket.destroy());
          if (reads) socket.resume();
          else socket.pause();
          return new Promise((resolve) => socket.write(says, resolve));
        }),
      );
    }
    if (trickle === undefined) return;
    const write = (): void => {
      for (const socket of own) if (socket.writable) socket.write(trickle);
    };
    this.#timers.push(setInterval(write, trickleMs));
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    for (const socket of this.#sockets) socket.destroy();
  }
}

function report({ rounds, seconds }: Bench['options'], alone: readonly Sample[], beside: readonly Sample[]): string {
  const row = (name: string, samples: readonly Sample[]): string[] => {
    const all = (key: keyof Sample, digits: number): string =>
      spread(
        samples.map((sample) => sample[key]),
        digits,
      );
    return [name, all('p50Ms', 2), all('p99Ms', 2), all('cpuShare', 2), all('rssMb', 0)];
  };
  const bytes = alone.map(({ rssMb }, round) => (((beside[round]?.rssMb ?? Number.NaN) - rssMb) * 1e3) / total);
  return `${rounds} rounds of ${seconds} s, each with a new router: ${perSecond} calls a second on ${connections} connections, alone and beside ${kinds.map(({ name, count }) => `${count} ${name}`).join(', ')}. Medians (least–most). A slow client costs ${spread(bytes, 1)} kB of the router's memory.

${table(
  ['the others', 'p50 ms', 'p99 ms', 'share of a core', 'memory, MB'],
  [row('alone', alone), row(`beside ${total} slow ones`, beside)],
)}`;
}
