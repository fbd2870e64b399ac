/**
 * What does a large route table cost? Lookups and deltas as in the router's process, and snapshots as they come: the agent's hub,
 * frames on a WebSocket, the router's process.
 */
import { randomBytes } from 'node:crypto';
import { Agent as HttpAgent, get } from 'node:http';
import { runInNewContext } from 'node:vm';
import { setFlagsFromString } from 'node:v8';
import type { Table } from '../router/table/table.ts';
import { bareTable } from '../router/testing/table.ts';
import { RouteHub } from '../agent/routes/hub.ts';
import { systemClock } from '../shared/wait/clock.ts';
import { silentLog } from '../shared/log.ts';
import { agentMethods } from '../shared/protocol/methods.ts';
import type { Route, RoutesItem } from '../shared/protocol/routes.ts';
import { decode, encodeItem } from '../shared/rpc/codec.ts';
import { startFakeAgent } from './rig/fake-agent.ts';
import { loopStall, type LoopStall } from './rig/loop-stall.ts';
import { rssBytes } from './rig/machine.ts';
import type { Bench, Question } from './rig/question.ts';
import { startRouter } from './rig/router.ts';
import { median, quantile, spread } from './rig/statistics.ts';
import { table } from './rig/table.ts';
import { until } from './rig/until.ts';

const fewApps = 10;
const lookups = 200_000;
const deltas = 2_000;
/** Apps that were called before a snapshot comes again: each is brought up to it. */
const calledApps = 5_000;

export const routes: Question = async (bench) => {
  const { options, say } = bench;
  const inProcess = measureTables(options.routes, options.rounds);
  say('routes: lookups and deltas');
  const publishUs = measurePublish(options.routes);
  const snapshots = await measureSnapshots(bench);
  return report(options, inProcess, publishUs, snapshots);
};

function routeOf(number: number, version = 1): Route {
  // Like a large installation: mostly asleep, some with a host of their own.
  const name = `app-${number}`;
  const awake = number % 4 === 0;
  return {
    app: name,
    host: number % 2 === 0 ? '' : `${name}.apps.example`,
    path: number % 2 === 0 ? `/team-${number % 100}/${name}` : '/',
    stripPath: true,
    version,
    serving: awake
      ? {
          state: 'ready',
          targets: [
            { id: `${name}-6d4cf56db6-x7k2p`, host: `10.1.${(number >> 8) & 255}.${number & 255}`, port: 8_080 },
          ],
          pending: null,
          timings: { buildMs: null, rolloutMs: 812 },
        }
      : { state: 'hold', reason: 'asleep' },
    holdMaxCalls: 5_000,
    holdTimeoutMs: 300_000,
    maxConcurrency: 0,
  };
}

function* routesOf(count: number, version = 1): Generator<Route> {
  for (let number = 0; number < count; number += 1) yield routeOf(number, version);
}

function tableOf(count: number): Table {
  const made = bareTable().table;
  made.apply({ kind: 'snapshot', seq: 1, routes: [...routesOf(count)], more: false }, () => undefined);
  return made;
}

interface InProcess {
  /** Time of a lookup in the large table, relative to the small one, for the same few apps. */
  readonly sameRatio: readonly number[];
  readonly smallNs: readonly number[];
  /** Lookups of all apps of the large table in turn. */
  readonly evenNs: readonly number[];
  readonly routeBytes: number;
  readonly deltaUs: readonly number[];
}

function measureTables(count: number, rounds: number): InProcess {
  const before = heapBytes();
  const large = tableOf(count);
  const routeBytes = (heapBytes() - before) / count;
  const small = tableOf(fewApps);
  const few = queriesOf(fewApps);
  const all = queriesOf(count);
  const result: { sameRatio: number[]; smallNs: number[]; evenNs: number[] } = {
    sameRatio: [],
    smallNs: [],
    evenNs: [],
  };
  for (let round = -1; round < rounds * 3; round += 1) {
    // Excludes the cost of making the strings, which every call has anyway.
    const strings = lookUp(undefined, few);
    const one = lookUp(small, few) - strings;
    const same = lookUp(large, few) - strings;
    const again = lookUp(small, few) - strings;
    const even = lookUp(large, all) - lookUp(undefined, all);
    if (round < 0) continue; // Compiles.
    const base = (one + again) / 2;
    result.smallNs.push(base);
    result.sameRatio.push(same / base);
    result.evenNs.push(even);
  }
  return { ...result, routeBytes, deltaUs: measureDeltas(large, count) };
}

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

/** What clients send, one behind the other: each lookup is of new strings, as in the router. */
interface Queries {
  readonly bytes: Buffer;
  /** For each route: the offsets of its host, of its path, and of its end. */
  readonly at: Uint32Array;
}

function queriesOf(apps: number): Queries {
  const texts: string[] = [];
  const at = new Uint32Array(2 * lookups + 1);
  let length = 0;
  for (let index = 0; index < lookups; index += 1) {
    // Far apart, as calls of many apps come.
    const { host, path } = routeOf((index * 7_919) % apps);
    for (const [part, text] of [host || 'any.example', `${path === '/' ? '' : path}/index.html`].entries()) {
      texts.push(text);
      at[2 * index + part] = length;
      length += text.length;
    }
  }
  at[2 * lookups] = length;
  return { bytes: Buffer.from(texts.join(''), 'latin1'), at };
}

/** @returns nanoseconds a lookup. */
function lookUp(in_: Table | undefined, { bytes, at }: Queries): number {
  const began = process.threadCpuUsage();
  let found = 0;
  for (let index = 0; index < lookups; index += 1) {
    const middle = at[2 * index + 1];
    const host = bytes.toString('latin1', at[2 * index], middle);
    const path = bytes.toString('latin1', middle, at[2 * index + 2]);
    if (in_ === undefined ? path.length > host.length - 1_000 : in_.lookup(host, path) !== undefined) found += 1;
  }
  const { user, system } = process.threadCpuUsage(began);
  if (found !== lookups) throw new Error('a route was not found');
  return ((user + system) * 1_000) / lookups;
}

/** Measures from the text of a frame to the changed table, one app per delta. @returns microseconds. */
function measureDeltas(large: Table, count: number): number[] {
  const schema = agentMethods['routes.watch'].item;
  const times: number[] = [];
  for (let number = 0; number < deltas; number += 1) {
    const route = routeOf((number * 7_919) % count, 2);
    const frame = encodeItem(1, { kind: 'delta', seq: number + 2, upsert: [route], remove: [] });
    const beganNs = process.hrtime.bigint();
    const message = decode(frame);
    if (message.kind !== 'item') throw new Error('no item');
    const item: RoutesItem = schema.parse(message.item);
    if (!large.apply(item, () => undefined)) throw new Error('a gap');
    times.push(Number(process.hrtime.bigint() - beganNs) / 1_000);
  }
  return times;
}

/** Measures a publication in an agent with that many apps. @returns microseconds. */
function measurePublish(count: number): number[] {
  const hub = new RouteHub({ clock: systemClock, leaseMs: 10_000, log: silentLog });
  for (const route of routesOf(count)) hub.publish(route);
  const times: number[] = [];
  for (let number = 0; number < deltas; number += 1) {
    const route = routeOf((number * 7_919) % count, 2);
    const beganNs = process.hrtime.bigint();
    hub.publish(route);
    times.push(Number(process.hrtime.bigint() - beganNs) / 1_000);
  }
  hub.close();
  return times;
}

interface Snapshots {
  readonly firstMs: number;
  readonly againMs: readonly number[];
  readonly again: readonly LoopStall[];
  /** Longest loop stall of the agent while it sends. */
  readonly agentCpuMs: number;
  readonly rssMb: number;
  readonly rssEmptyMb: number;
  /** From `publish` to the acknowledgement of the router. */
  readonly settledMs: readonly number[];
}

async function measureSnapshots(bench: Bench): Promise<Snapshots> {
  const { options, signal, say } = bench;
  const token = randomBytes(24).toString('hex');
  const empty = await startFakeAgent({ token, routes: [] });
  const none = await startRouter(bench, { agentUrl: empty.url, token, watchLoop: true });
  const rssEmptyMb = rssBytes(none.pid) / 1e6;
  await none.stop();
  await empty.close();

  const agent = await startFakeAgent({ token, routes: routesOf(options.routes) });
  bench.after(() => agent.close());
  // It begins before it has a link, and its first routes come when everything else is loaded.
  const beganMs = performance.now();
  const router = await startRouter(bench, { agentUrl: agent.url, token, watchLoop: true });
  const firstMs = performance.now() - beganMs;
  say(`routes: first snapshot in ${firstMs.toFixed(0)} ms`);
  const { port } = router.hello;
  await callApps(port, Math.min(calledApps, options.routes));

  const watch = watchOwnLoop();
  const again: LoopStall[] = [];
  const againMs: number[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    await loopStall(router.pid, signal);
    const startMs = performance.now();
    agent.cut();
    // The new watch starts with a snapshot.
    await until({ withinMs: 30_000, everyMs: 1, what: 'a new link', signal }, async () => {
      const [status] = agent.hub.routers;
      return Promise.resolve(status !== undefined && status.connectedSecs * 1_000 < performance.now() - startMs);
    });
    await agent.hub.settledAtKnown(agent.hub.revision, signal);
    againMs.push(performance.now() - startMs);
    again.push(await loopStall(router.pid, signal));
    say(`routes: snapshot ${round + 1} of ${options.rounds}`);
  }
  const agentCpuMs = watch();
  const settledMs: number[] = [];
  for (let number = 0; number < 200; number += 1) {
    const startMs = performance.now();
    const revision = agent.hub.publish(routeOf((number * 7_919) % options.routes, 3));
    await agent.hub.settledAtKnown(revision, signal);
    settledMs.push(performance.now() - startMs);
  }
  const rssMb = rssBytes(router.pid) / 1e6;
  await router.stop();
  return { firstMs, againMs, again, agentCpuMs, rssMb, rssEmptyMb, settledMs };
}

/** Calls apps that are asleep, and leaves: the router knows them from then on. */
async function callApps(port: number, count: number): Promise<void> {
  const agent = new HttpAgent({ keepAlive: false, maxSockets: 100 });
  await Promise.all(
    Array.from(
      { length: count },
      (_, index) =>
        new Promise<void>((resolve) => {
          const { host, path } = routeOf(index);
          const req = get({
            host: '127.0.0.1',
            port,
            path,
            agent,
            headers: { Host: host || 'any.example' },
            timeout: 200,
          });
          req.on('response', (res) => res.resume());
          req.on('timeout', () => req.destroy());
          req.on('error', () => undefined);
          req.on('close', resolve);
        }),
    ),
  );
  agent.destroy();
}

/** @returns what tells the most processor time of this thread between two turns of its loop. */
function watchOwnLoop(): () => number {
  let most = 0;
  let last = process.threadCpuUsage();
  const timer = setInterval(() => {
    const used = process.threadCpuUsage(last);
    most = Math.max(most, (used.user + used.system) / 1_000);
    last = process.threadCpuUsage();
  }, 4);
  return () => {
    clearInterval(timer);
    return most;
  };
}

function report(
  { routes: count }: Bench['options'],
  { sameRatio, evenNs, smallNs, routeBytes, deltaUs }: InProcess,
  publishUs: readonly number[],
  snapshots: Snapshots,
): string {
  const n = count.toLocaleString('en');
  const us = (values: readonly number[]): string =>
    `p50 ${quantile(values, 0.5).toFixed(1)}, p99 ${quantile(values, 0.99).toFixed(1)}`;
  const cpu = (stalls: readonly LoopStall[]): string =>
    spread(
      stalls.map(({ cpuMs }) => cpuMs),
      1,
    );
  const wall = (stalls: readonly LoopStall[]): string =>
    spread(
      stalls.map(({ wallMs }) => wallMs),
      1,
    );
  return (
    table(
      ['what', 'measured'],
      [
        [`lookup of one of ${fewApps} apps in a table of ${fewApps}, ns`, spread(smallNs, 0)],
        [`the same lookups in a table of ${n}, ratio`, spread(sameRatio, 2)],
        [`lookups of all ${n} apps in turn, most not in the processor's cache, ns`, spread(evenNs, 0)],
        ['delta of one app, from the text of the frame to the table, µs', us(deltaUs)],
        ['from publish to acknowledgement, agent and router, ms', us(snapshots.settledMs)],
        [`publish in the agent with ${n} apps, µs`, us(publishUs)],
        [`first snapshot of ${n}, with the start of the process, ms`, snapshots.firstMs.toFixed(0)],
        [`snapshot again over a new link, ${calledApps} apps called before, ms`, spread(snapshots.againMs, 0)],
        [
          '… longest loop stall of the router, CPU ms; by the clock',
          `${cpu(snapshots.again)}; ${wall(snapshots.again)}`,
        ],
        ['… longest loop stall of the agent, CPU ms', snapshots.agentCpuMs.toFixed(1)],
        [
          'memory of a route in the table, bytes; of a snapshot and the table before it together, twice that',
          routeBytes.toFixed(0),
        ],
        [
          'resident memory of the router, MB; with no route',
          `${snapshots.rssMb.toFixed(0)}; ${snapshots.rssEmptyMb.toFixed(0)}`,
        ],
      ],
    ) + `\n\n${median(snapshots.again.map(({ ticks }) => ticks)).toFixed(0)} looks at the loop in a snapshot.`
  );
}
