/**
 * When does a pod first answer on its own address? Asked from this machine, every 5 ms from the moment the API server tells
 * the address: no way to a pod that knows no more than that can be faster by more than those 5 ms.
 */
import { connect } from 'node:net';
import type { KubeApi } from '../../agent/kube/api.ts';

export interface PodAnswer {
  /** Times are nanoseconds of `process.hrtime`. The watch told the address. */
  readonly addressNs: bigint;
  /** The first byte of the first answer with 200 was here. */
  readonly answeredNs: bigint;
}

const everyMs = 5;
const attemptMs = 2_000;
const maxLineBytes = 1024 * 1024;

/**
 * Begins to watch; there must be no pod in the namespace yet.
 * @returns what the first pod that comes is seen to do, once the watch stands.
 */
export async function watchFirstPod(
  api: KubeApi,
  pod: { readonly namespace: string; readonly port: number; readonly healthPath: string },
  signal: AbortSignal,
): Promise<{ readonly answer: Promise<PodAnswer> }> {
  const { metadata, items } = await api.list('Pod', pod.namespace, {}, { signal });
  if (items.length > 0) throw new Error(`there is a pod in ${pod.namespace} already`);
  const answer = (async () => {
    const host = await firstAddress(api, pod.namespace, metadata?.resourceVersion, signal);
    const addressNs = process.hrtime.bigint();
    return { addressNs, answeredNs: await firstAnswer({ ...pod, host }, signal) };
  })();
  // Looked at by the caller later; until then it must not count as unhandled.
  answer.catch(() => undefined);
  return { answer };
}

async function firstAddress(
  api: KubeApi,
  namespace: string,
  resourceVersion: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  for await (const { object } of api.watch('Pod', namespace, { resourceVersion }, { signal, maxLineBytes })) {
    const { podIP = '' } = object.status ?? {};
    if (podIP !== '') return podIP;
  }
  throw new Error('the watch of pods ended before one had an address');
}

/** Starts a new attempt each time, regardless of earlier ones. */
async function firstAnswer(
  to: { readonly host: string; readonly port: number; readonly healthPath: string },
  signal: AbortSignal,
): Promise<bigint> {
  const { promise, resolve, reject } = Promise.withResolvers<bigint>();
  const ends = new Set<() => void>();
  const attempt = (): void => {
    const socket = connect({ host: to.host, port: to.port, noDelay: true, timeout: attemptMs });
    const end = (): void => {
      ends.delete(end);
      socket.destroy();
    };
    ends.add(end);
    socket.on('error', end);
    socket.on('timeout', end);
    socket.on('data', (chunk: Buffer) => {
      const nowNs = process.hrtime.bigint();
      if (chunk.toString('latin1', 0, 12) === 'HTTP/1.1 200') resolve(nowNs);
      end();
    });
    socket.write(`GET ${to.healthPath} HTTP/1.1\r\nHost: pod.example\r\nConnection: close\r\n\r\n`);
  };
  const abort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', abort, { once: true });
  attempt();
  const timer = setInterval(attempt, everyMs);
  try {
    signal.throwIfAborted();
    return await promise;
  } finally {
    clearInterval(timer);
    signal.removeEventListener('abort', abort);
    for (const end of ends) end();
  }
}
