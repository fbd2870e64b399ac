/** Opens the Kubernetes cluster for the tests: the one that KUBECONFIG names, or a new one from test/cluster. */
import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { output, run } from './command.ts';

export interface TestCluster {
  readonly kubeconfig: string;
  /** host:port, plain HTTP. */
  readonly registry: string;
  /** Name of the cluster if this run started it; `close` then removes it. */
  readonly ownName: string | undefined;
  close(): Promise<void>;
}

const scripts = 'test/cluster';
/** Developers' own clusters use other numbers. */
const firstNumber = 20;
const lastNumber = 49;

export async function openCluster(options: {
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly timed: <T>(what: string, work: () => Promise<T>) => Promise<T>;
}): Promise<TestCluster> {
  const { env, signal, timed } = options;
  const given = givenCluster(env);
  const cluster = given ?? (await timed('cluster', () => startCluster(env, signal)));
  try {
    await timed('images', async () => {
      const code = await run(join(scripts, 'images'), [cluster.registry], { env, signal, onOutput: () => undefined });
      if (code !== 0) throw new Error('the images could not be made');
    });
  } catch (error) {
    await cluster.close();
    throw error;
  }
  return cluster;
}

/**
 * KUBECONFIG alone is not enough: it may be set for other work, and the tests change the cluster. It must belong to a
 * cluster of test/cluster, or HOLDFAST_TEST_REGISTRY must be set too.
 */
function givenCluster(env: NodeJS.ProcessEnv): TestCluster | undefined {
  const kubeconfig = env['KUBECONFIG'];
  if (kubeconfig === undefined || kubeconfig === '') return undefined;
  const registry = env['HOLDFAST_TEST_REGISTRY'] ?? registryOf(dirname(kubeconfig));
  if (registry === undefined) {
    process.stdout.write('KUBECONFIG is not used: HOLDFAST_TEST_REGISTRY does not say with which registry\n');
    return undefined;
  }
  return { kubeconfig, registry, ownName: undefined, close: async () => undefined };
}

function registryOf(state: string): string | undefined {
  const file = join(state, 'registry.yml');
  return existsSync(file) ? /addr: "([^"]+)"/.exec(readFileSync(file, 'utf8'))?.[1] : undefined;
}

async function startCluster(env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<TestCluster> {
  if (process.getuid?.() !== 0) throw new Error('the test cluster needs root; --no-cluster leaves out what needs it');
  for (let number = firstNumber; number <= lastNumber; number += 1) {
    if (isTaken(number)) continue;
    const name = `test${number}`;
    const close = async (): Promise<void> => {
      await run(join(scripts, 'down'), [name], { env, detached: true });
    };
    try {
      const printed = await output(join(scripts, 'up'), [name, String(number)], { env, signal });
      const state = printed.split('\n').at(-1) ?? '';
      const kubeconfig = join(state, 'kubeconfig');
      return { kubeconfig, registry: `198.18.${number}.2:5000`, ownName: basename(state), close };
    } catch (error) {
      await close();
      if (signal.aborted || !isTaken(number)) throw error;
      // Another run took this number; try the next one.
    }
  }
  throw new Error(
    `198.18.${firstNumber}.1 to 198.18.${lastNumber}.1 are all taken by clusters: remove one by test/cluster/down`,
  );
}

function isTaken(number: number): boolean {
  return Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some(({ address }) => address === `198.18.${number}.1`),
  );
}
