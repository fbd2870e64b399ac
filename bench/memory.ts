/** Does the router stay within 256 MiB, whatever its clients do? Each time a new one as shipped, in a memory cgroup where one can be made. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectPlain, createServer, type AddressInfo, type Socket } from 'node:net';
import { join as joinPath } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { request } from 'undici';
import { block, Flag, frame, preface, settings, Type } from '../router/testing/h2-frames.ts';
import { systemClock } from '../shared/wait/clock.ts';
import type { Route } from '../shared/protocol/routes.ts';
import { sleep } from '../shared/wait/sleep.ts';
import { certificates } from '../test/support/certificates.ts';
import { startFakeAgent } from './rig/fake-agent.ts';
import { makeMemoryGroup } from './rig/memory-group.ts';
import type { Bench, Question } from './rig/question.ts';
import type { Running } from './rig/processes.ts';
import { startRouter } from './rig/router.ts';
import { table } from './rig/table.ts';

interface Kind {
  readonly name: string;
  readonly says: Buffer;
  readonly reads: boolean;
  readonly tls?: boolean;
}

const connections = 9_000;
const limitMib = 256;
const streams = 20;
const atOnce = 50;
const sampleMs = 100;
/** After the last one has said what it has to say. */
const settleMs = 5_000;
/** Each with its part of the sockets. */
const targets = 40;
const answerBytes = 100_000_000;

const head = (method: string, path: string, more = ''): string =>
  `${method} ${path} HTTP/1.1\r\nHost: bench.example\r\n${more}`;
const large = `X-Large: ${'x'.repeat(14_000)}`;
const body = `${large}\r\nContent-Length: ${answerBytes}\r\n\r\n`;

const plain: readonly Kind[] = [
  { name: 'idle', says: Buffer.alloc(0), reads: true },
  { name: 'calls that wait', says: Buffer.from(head('GET', '/cold', '\r\n')), reads: true },
  { name: 'calls in flight', says: Buffer.from(head('GET', '/warm/quiet', '\r\n')), reads: true },
  { name: 'heads of 14 KiB that never become whole', says: Buffer.from(head('GET', '/cold', large)), reads: true },
  {
    name: 'calls that wait, with such heads and 60 KiB of a body',
    says: Buffer.from(head('POST', '/cold', `${body}${'x'.repeat(60_000)}`)),
    reads: true,
  },
  {
    name: `readers that take nothing of ${answerBytes / 1e6} MB`,
    says: Buffer.from(head('GET', '/warm/large', '\r\n')),
    reads: false,
  },
  {
    name: 'uploads to an app that reads nothing, 1 MB each',
    says: Buffer.from(head('POST', '/warm/sink', `Content-Length: ${answerBytes}\r\n\r\n${'x'.repeat(1_000_000)}`)),
    reads: true,
  },
  { name: 'idle, HTTP/2', says: Buffer.concat([preface, settings()]), reads: true },
  {
    name: `HTTP/2, ${streams} streams each, that take nothing of ${answerBytes / 1e6} MB`,
    says: Buffer.concat([preface, settings(), ...streamsOf('GET', '/warm/large')]),
    reads: false,
  },
  {
    name: `HTTP/2, ${streams} calls each that wait, with 30 kB of a body`,
    says: Buffer.concat([preface, settings(), ...streamsOf('POST', '/cold', 30_000)]),
    reads: true,
  },
];
const byTls: readonly Kind[] = plain.map((kind) => ({ ...kind, name: `${kind.name}, over TLS`, tls: true }));

function streamsOf(method: string, path: string, bodyBytes = 0): Buffer[] {
  const fields = [
    [':method', method],
    [':scheme', 'http'],
    [':authority', 'bench.example'],
    [':path', path],
  ] as const;
  return Array.from({ length: streams }, (_, index) => {
    const id = 2 * index + 1;
    const end = bodyBytes === 0 ? Flag.endStream : 0;
    const open = frame(Type.headers, Flag.endHeaders | end, id, block(fields));
    const parts = Array.from({ length: Math.ceil(bodyBytes / 10_000) }, () =>
      frame(Type.data, 0, id, Buffer.alloc(10_000)),
    );
    return Buffer.concat([open, ...parts]);
  });
}

type Ports = Running['hello'];

interface Outcome {
  readonly name: string;
  readonly anonMb: number;
  readonly rssMb: number;
  readonly groupMb: number;
  readonly killed: boolean | undefined;
  readonly metrics: string;
}

export const memory: Question = async (bench) => {
  const outcomes: Outcome[] = [];
  const scenarios: readonly (readonly [string, readonly Kind[]])[] = [
    ...plain.map((kind) => [kind.name, [kind]] as const),
    ['all of these in turn, at once', plain],
    ...byTls.map((kind) => [kind.name, [kind]] as const),
    ['all of these and those over TLS in turn, at once', [...plain, ...byTls]],
  ];
  for (const [name, some] of scenarios) {
    const outcome = await ask(bench, name, some);
    outcomes.push(outcome);
    bench.say(`memory: ${name}: ${outcome.anonMb.toFixed(0)} MB${outcome.killed === true ? ', killed' : ''}`);
  }
  return report(outcomes);
};

async function ask(bench: Bench, name: string, some: readonly Kind[]): Promise<Outcome> {
  const { signal } = bench;
  const app = await startApp();
  const token = randomBytes(24).toString('hex');
  const agent = await startFakeAgent({
    token,
    routes: routesTo(app.port),
    ensure: (_app, _version, asked) =>
      new Promise((_, reject) => asked.addEventListener('abort', () => reject(new Error('gone')))),
  });
  const group = makeMemoryGroup(`holdfast-bench-${process.pid}`, limitMib * 2 ** 20);
  const crowd: Socket[] = [];
  try {
    const router = await startRouter(bench, {
      agentUrl: agent.url,
      token,
      within: group?.command,
      config: some.some(({ tls }) => tls) ? await tlsConfig(bench.folder) : [],
    });
    const most = { anon: 0, rss: 0 };
    const watch = setInterval(() => {
      most.anon = Math.max(most.anon, statusBytes(router.pid, 'RssAnon'));
      most.rss = Math.max(most.rss, statusBytes(router.pid, 'VmRSS'));
    }, sampleMs);
    try {
      await join(crowd, router.hello, some, signal);
      await sleep(systemClock, settleMs, signal);
    } finally {
      clearInterval(watch);
    }
    const metrics = await request(`http://127.0.0.1:${router.hello.adminPort}/metrics`, { signal })
      .then(({ body }) => body.text())
      .catch(() => '');
    const outcome = {
      name,
      anonMb: most.anon / 1e6,
      rssMb: most.rss / 1e6,
      groupMb: (group?.peakBytes() ?? Number.NaN) / 1e6,
      killed: group?.killed(),
      metrics,
    };
    for (const socket of crowd) socket.destroy();
    await router.stop();
    return outcome;
  } finally {
    for (const socket of crowd) socket.destroy();
    await agent.close();
    await app.close();
    await group?.remove(signal);
  }
}

async function tlsConfig(within: string): Promise<string[]> {
  const folder = joinPath(within, 'tls');
  await certificates(folder, 'bench.example');
  const file = (name: string): string => JSON.stringify(joinPath(folder, name));
  const certificate = `{ cert_file = ${file('tls.crt')}, key_file = ${file('tls.key')} }`;
  return ['[router.tls]', 'listen_port = 0', `certificate = [${certificate}]`];
}

/** Answers /large without an end, reads nothing of /sink, and else says nothing. */
async function startApp(): Promise<{ readonly port: number; close(): Promise<void> }> {
  const chunk = Buffer.alloc(65_536, 'x');
  const sockets = new Set<Socket>();
  const app = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.once('data', (first: Buffer) => {
      if (first.includes('/sink')) socket.pause();
      if (!first.includes('/large')) return;
      const more = (): void => {
        while (!socket.destroyed && socket.write(chunk));
      };
      socket.on('drain', more);
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${answerBytes}\r\n\r\n`);
      more();
    });
  });
  app.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 });
  await once(app, 'listening');
  return {
    port: (app.address() as AddressInfo).port,
    async close() {
      const closed = new Promise((resolve) => app.close(resolve));
      // Those that are not read do not see that the router has gone.
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function routesTo(port: number): Route[] {
  const common = {
    host: '',
    stripPath: true,
    addSlash: false as const,
    version: 1,
    holdMaxCalls: 10_000,
    holdTimeoutMs: 300_000,
    maxConcurrency: 0,
  };
  return [
    { ...common, app: 'cold', path: '/cold', serving: { state: 'hold', reason: 'asleep' } },
    {
      ...common,
      app: 'warm',
      path: '/warm',
      serving: {
        state: 'ready',
        targets: Array.from({ length: targets }, (_, index) => ({ id: `t${index}`, host: '127.0.0.1', port })),
        pending: null,
        timings: { buildMs: null, rolloutMs: null },
      },
    },
  ];
}

async function join(crowd: Socket[], to: Ports, some: readonly Kind[], signal: AbortSignal): Promise<void> {
  while (crowd.length < connections) {
    signal.throwIfAborted();
    const batch = Array.from({ length: Math.min(atOnce, connections - crowd.length) }, (_, index) =>
      open(to, some[(crowd.length + index) % some.length] as Kind),
    );
    crowd.push(...batch.map(({ socket }) => socket));
    await Promise.all(batch.map(({ opened }) => opened));
  }
}

function open(
  { port, tlsPort = 0 }: Ports,
  { name, says, reads, tls = false }: Kind,
): { socket: Socket; opened: Promise<void> } {
  const host = '127.0.0.1';
  const socket = tls
    ? connectTls({
        port: tlsPort,
        host,
        servername: 'bench.example',
        rejectUnauthorized: false,
        ALPNProtocols: [name.includes('HTTP/2') ? 'h2' : 'http/1.1'],
      })
    : connectPlain({ port, host });
  socket.on('error', () => socket.destroy());
  if (reads) socket.resume();
  else socket.pause();
  if (says.length > 0) socket.write(says);
  const opened = new Promise<void>((resolve) => {
    socket.once(tls ? 'secureConnect' : 'connect', resolve);
    socket.once('close', () => resolve());
  });
  return { socket, opened };
}

/** @returns 0 where it is gone. */
function statusBytes(pid: number, key: string): number {
  try {
    const kib = new RegExp(`^${key}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kib ?? 0) * 1_024;
  } catch {
    return 0;
  }
}

function report(outcomes: readonly Outcome[]): string {
  const limited = outcomes.every(({ killed }) => killed !== undefined);
  const where = limited
    ? `Each router in a memory cgroup of ${limitMib} MiB: ${outcomes.filter(({ killed }) => killed).length} of ${outcomes.length} were killed.`
    : 'No memory cgroup could be made here: nothing was limited.';
  const rows = outcomes.map(({ name, anonMb, rssMb, groupMb, killed, metrics }) => {
    const value = (key: string): number => sum(metrics, `holdfast_router_${key}`);
    const mb = (key: string): string => (value(key) / 1e6).toFixed(1);
    const refused = sum(metrics, 'holdfast_router_requests_total', /code="(?!499)[45]/);
    return [
      name,
      anonMb.toFixed(0),
      rssMb.toFixed(0),
      Number.isNaN(groupMb) ? '' : groupMb.toFixed(0),
      killed === true ? 'killed' : String(value('connections')),
      String(value('held_calls')),
      String(refused),
      String(value('streams_cut_total')),
      mb('read_ahead_bytes'),
      mb('buffered_bytes'),
    ];
  });
  return `${connections} connections of each kind. ${where}

${table(
  [
    'what they do',
    'peak anonymous memory, MB',
    'resident',
    'of the cgroup',
    'connections kept',
    'calls that wait',
    'calls refused',
    'cut off',
    'read ahead, MB',
    'buffered, MB',
  ],
  rows,
)}`;
}

/** Over all series of a metric whose labels match. */
function sum(metrics: string, name: string, labels = /^/): number {
  let total = 0;
  for (const line of metrics.split('\n')) {
    const found = /^(\w+)(\{.*\})? (\S+)$/.exec(line);
    if (found?.[1] === name && labels.test(found[2] ?? '')) total += Number(found[3]);
  }
  return total;
}
