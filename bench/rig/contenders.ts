/** Those that bench/forward.ts compares: each a process of its own that leads to the backend. */
import { randomBytes } from 'node:crypto';
import { startFakeAgent } from './fake-agent.ts';
import { buildGo } from './go.ts';
import type { Running } from './processes.ts';
import type { Bench } from './question.ts';
import { startRouter } from './router.ts';
import { startHaproxy, startNginxProxy } from './servers.ts';

export interface Contender {
  readonly name: string;
  readonly process: Running;
}

/** What others are compared with, by the names they have here. */
export const nginxName = 'nginx';
export const haproxyName = 'HAProxy';
export const routerName = 'Holdfast router';

/** The first one is Go's, or what stands for it. */
export async function startContenders(
  bench: Bench,
  backendPort: number,
  cores: string | undefined,
): Promise<Contender[]> {
  const { processes } = bench;
  const origin = `http://127.0.0.1:${backendPort}`;
  const node = async (name: string, file: URL): Promise<Contender> => ({
    name,
    process: await processes.start({ name, args: [file, origin], cores }),
  });
  const contenders = [
    (await startGo(bench, origin, cores)) ??
      (await node('node:http + http.request', new URL('../peers/request-proxy.ts', import.meta.url))),
    await node('node:http + undici', new URL('../peers/undici-proxy.ts', import.meta.url)),
  ];
  const nginx = await startNginxProxy(bench, backendPort, cores);
  if (nginx !== undefined) contenders.push({ name: nginxName, process: nginx });
  const haproxy = await startHaproxy(bench, backendPort, cores);
  if (haproxy !== undefined) contenders.push({ name: haproxyName, process: haproxy });
  const router = await startOneRoute(bench, backendPort);
  contenders.push({ name: routerName, process: await startRouter(bench, { ...router, cores }) });
  contenders.push({
    name: `${routerName}, access log on`,
    process: await startRouter(bench, { ...router, cores, accessLog: true }),
  });
  const { workers, other } = bench.options;
  if (other !== undefined) {
    contenders.push({
      name: `${routerName} of the other checkout`,
      process: await startRouter(bench, { ...router, cores, checkout: other }),
    });
  }
  if (workers > 1) {
    contenders.push({
      name: `${routerName}, ${workers} workers on all cores`,
      // Workers on one core would only compete for it.
      process: await startRouter(bench, { ...router, cores: undefined, config: [`workers = ${workers}`] }),
    });
  }
  return contenders;
}

/** @returns an agent that leads /bench to the backend. */
export async function startOneRoute(
  bench: Bench,
  backendPort: number,
): Promise<{ readonly agentUrl: string; readonly token: string }> {
  const token = randomBytes(24).toString('hex');
  const agent = await startFakeAgent({
    token,
    routes: [
      {
        app: 'bench',
        host: '',
        path: '/bench',
        stripPath: true,
        version: 1,
        serving: {
          state: 'ready',
          targets: [{ id: 'backend', host: '127.0.0.1', port: backendPort }],
          pending: null,
          timings: { buildMs: null, rolloutMs: null },
        },
        holdMaxCalls: 5_000,
        holdTimeoutMs: 60_000,
        maxConcurrency: 0,
      },
    ],
  });
  bench.after(() => agent.close());
  return { agentUrl: agent.url, token };
}

/** @returns undefined where there is no Go. */
async function startGo(bench: Bench, origin: string, cores: string | undefined): Promise<Contender | undefined> {
  const { processes } = bench;
  const name = "Go's httputil.ReverseProxy";
  const program = await buildGo(bench, 'reverse-proxy', `${name} is left out`);
  if (program === undefined) return undefined;
  const version = await processes.output({ name: 'go env', command: 'go', args: ['env', 'GOVERSION'] });
  const process = await processes.start({ name, command: program, args: [origin], cores });
  return { name: `${name} (${version.trim()})`, process };
}
