/** Chooses free TCP ports on 127.0.0.1. */
import { createServer } from 'node:net';
import { UsageError } from '../../shared/command/exit-code.ts';
import type { EmbeddedPorts } from './workspace.ts';

const preferredPort = 8_080;
const tries = 50;

/** @param wanted the port for calls; by default 8080 or the next free port. @throws UsageError if there is none. */
export async function choosePorts(wanted: number | undefined): Promise<EmbeddedPorts> {
  const calls = await callPort(wanted);
  // All ports are chosen together, so that they differ.
  const [routerAdmin, rpc, agentAdmin] = await freePorts(3, calls);
  if (!routerAdmin || !rpc || !agentAdmin) throw new UsageError('no free port on 127.0.0.1');
  return { calls, routerAdmin, rpc, agentAdmin };
}

async function callPort(wanted: number | undefined): Promise<number> {
  if (wanted !== undefined) {
    if (await isFree(wanted)) return wanted;
    throw new UsageError(`port ${wanted} is in use; choose another with --port`);
  }
  for (let port = preferredPort; port < preferredPort + tries; port += 1) {
    if (await isFree(port)) return port;
  }
  throw new UsageError(`ports ${preferredPort} to ${preferredPort + tries - 1} are in use; choose a port with --port`);
}

async function freePorts(count: number, except: number): Promise<number[]> {
  const held = await Promise.all(Array.from({ length: count + 1 }, () => hold(0)));
  const ports = held.flatMap((one) => (one === undefined || one.port === except ? [] : [one.port]));
  await Promise.all(held.map((one) => one?.release() ?? Promise.resolve()));
  return ports.slice(0, count);
}

async function isFree(port: number): Promise<boolean> {
  const held = await hold(port);
  await held?.release();
  return held !== undefined;
}

/** Binds a port. @returns undefined if the port is not available. */
function hold(port: number): Promise<{ readonly port: number; release(): Promise<void> } | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      resolve({
        port: address === null || typeof address === 'string' ? port : address.port,
        release: () => new Promise((done) => server.close(() => done())),
      });
    });
  });
}
