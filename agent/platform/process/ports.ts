/**
 * Free loopback ports for apps, from below the range that the kernel uses for outgoing connections, so that no connection of the router
 * takes one between the choice and the app's `listen`. Ports are used in turn, so that a port comes back late: a kept-alive socket to an
 * old version then never reaches a new one.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { AppError } from '../../../shared/errors.ts';

const firstPort = 20_000;
// The range ends below the node ports of a Kubernetes on the same machine.
const portCount = 10_000;
const maxTries = 200;

export function createPorts(options: { readonly random?: () => number } = {}) {
  // Random, so that two agents on one machine begin at different ports.
  let position = Math.floor((options.random ?? Math.random)() * portCount);
  const taken = new Set<number>();
  return {
    /** A port that nothing listens on and that no other app has; give it back with `release`. @throws AppError platform_error */
    async take(): Promise<number> {
      for (let tries = 0; tries < maxTries; tries += 1) {
        const port = firstPort + position;
        position = (position + 1) % portCount;
        if (taken.has(port)) continue;
        taken.add(port);
        if (await isFree(port)) return port;
        taken.delete(port);
      }
      throw new AppError('platform_error', `found no free port: ${maxTries} ports from ${firstPort} on were tried`, {
        phase: 'start',
      });
    },
    release(port: number): void {
      taken.delete(port);
    },
  };
}

export type Ports = ReturnType<typeof createPorts>;

/** Binds the wildcard address, as most apps do: that fails if anything listens on any address. */
async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen({ port, exclusive: true });
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    if (server.listening) {
      server.close();
      await once(server, 'close');
    }
  }
}
