/** Chooses free TCP ports on 127.0.0.1. */
import { createServer } from 'node:net';
import { toAppError } from '../../shared/errors.ts';
import { UsageError } from '../../shared/command/exit-code.ts';
import type { EmbeddedPorts } from './workspace.ts';

const preferredPort = 8_080;
const tries = 50;
/** How often ports are chosen again because others took them. */
const maxStarts = 5;

/**
 * Starts what listens on the ports. Another program, such as a second `holdfast start`, can take one between the choice and `listen`: then
 * all are chosen again, except the one that the user wants.
 * @param start throws an error that `isPortTaken` recognizes in that case, once nothing of it runs any longer.
 * @throws UsageError if there is none; what `start` throws.
 */
export async function onFreePorts<T>(
  wanted: number | undefined,
  start: (ports: EmbeddedPorts) => Promise<T>,
): Promise<T> {
  for (let starts = 1; ; starts += 1) {
    const ports = await choosePorts(wanted);
    try {
      return await start(ports);
    } catch (error) {
      if (!isPortTaken(error)) throw error;
      if (starts === maxStarts) throw new UsageError(takenText(ports, wanted), { cause: error });
    }
  }
}

/** Whether a part could not listen. Its log, which the message quotes, names the system's error. */
export function isPortTaken(error: unknown): boolean {
  return /\bEADDRINUSE\b/.test(toAppError(error).message);
}

function takenText({ calls }: EmbeddedPorts, wanted: number | undefined): string {
  const what = wanted === undefined ? `port ${calls}, or another one that was free,` : `port ${wanted}`;
  return `${what} was taken by another program ${maxStarts} times while Holdfast started; choose a port with --port`;
}

/** @param wanted the port for calls; by default 8080 or the next free port. @throws UsageError if there is none. */
async function choosePorts(wanted: number | undefined): Promise<EmbeddedPorts> {
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
