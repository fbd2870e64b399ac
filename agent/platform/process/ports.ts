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
  /** The app that has each port. */
  const taken = new Map<number, string>();

  async function takeAny(app: string): Promise<number> {
    for (let tries = 0; tries < maxTries; tries += 1) {
      const port = firstPort + position;
      position = (position + 1) % portCount;
      if (taken.has(port)) continue;
      taken.set(port, app);
      if (await isFree(port)) return port;
      taken.delete(port);
    }
    throw new AppError('platform_error', `found no free port: ${maxTries} ports from ${firstPort} on were tried`, {
      phase: 'start',
    });
  }

  return {
    /**
     * A port that nothing listens on and that no other app has; give it back with `release`.
     * @param preferred taken if it is free. Otherwise `heldBy` of the result names the app that has it; `''`: another program.
     * @throws AppError platform_error
     */
    async take(app: string, preferred?: number): Promise<TakenPort> {
      const heldBy = preferred === undefined ? undefined : taken.get(preferred);
      if (preferred !== undefined && heldBy === undefined) {
        taken.set(preferred, app);
        if (await isFree(preferred)) return { port: preferred, heldBy: undefined };
        taken.delete(preferred);
      }
      return { port: await takeAny(app), heldBy: preferred === undefined ? undefined : (heldBy ?? '') };
    },
    release(port: number): void {
      taken.delete(port);
    },
    /** The app that has the port. */
    heldBy: (port: number): string | undefined => taken.get(port),
  };
}

export interface TakenPort {
  readonly port: number;
  /** Who has the port that was preferred; undefined if it was free. */
  readonly heldBy: string | undefined;
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
