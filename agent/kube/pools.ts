/**
 * Connections to the API server, HTTP/1.1 only: with HTTP/2 all share one socket, and many streams that were aborted at
 * once have been seen to leave undici's count of running ones too high, after which every request waited forever.
 */
import type { ConnectionOptions } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import type { DispatcherOptions } from '@kubernetes/client-node';
import { Agent, ProxyAgent, type buildConnector, type Dispatcher } from 'undici';

interface Pair {
  /** The addresses and certificates that the dispatchers were made with. */
  readonly connection: DispatcherOptions;
  requests: Dispatcher;
  readonly streams: Dispatcher;
}

const connectTimeoutMs = 5_000;
/** Below the idle limit of usual load balancers before API servers. */
const keepAliveMs = 20_000;
/** Longer than the deadlines of the requests themselves: a second line for what those might miss. */
const requestTimeoutMs = 15_000;
const maxTimeoutsInARow = 3;

export function createPools(deps: { readonly maxRequests: number }) {
  let current: Pair | undefined;
  let timeouts = 0;
  const retired = new Set<Dispatcher>();

  function pair(connection: DispatcherOptions): Pair {
    if (current !== undefined) {
      if (isDeepStrictEqual(current.connection, connection)) return current;
      // New certificates: what runs on the old ones may end.
      for (const old of [current.requests, current.streams]) retire(old, old.close());
    }
    const streams = dispatcherOf(connection, { bodyTimeout: 0, headersTimeout: 0 });
    current = { connection, requests: requestsOf(connection), streams };
    return current;
  }

  function requestsOf(connection: DispatcherOptions): Dispatcher {
    return dispatcherOf(connection, {
      connections: deps.maxRequests,
      headersTimeout: requestTimeoutMs,
      bodyTimeout: requestTimeoutMs,
    });
  }

  function retire(old: Dispatcher, ended: Promise<void>): void {
    retired.add(old);
    void ended.finally(() => retired.delete(old));
  }

  return {
    /** Bounded: what is over the bound waits for its turn. */
    requests: (connection: DispatcherOptions) => pair(connection).requests,
    /** A connection for each stream: those who open streams bound them. */
    streams: (connection: DispatcherOptions) => pair(connection).streams,
    /** A request ended. After several in a row without an answer in time the connections are made again. */
    answered(inTime: boolean): void {
      timeouts = inTime ? 0 : timeouts + 1;
      if (timeouts < maxTimeoutsInARow || current === undefined) return;
      timeouts = 0;
      const old = current.requests;
      current.requests = requestsOf(current.connection);
      // Not closed: that would wait for the requests that have no end.
      retire(old, old.destroy());
    },
    async close(): Promise<void> {
      const own = current === undefined ? [] : [current.requests, current.streams];
      await Promise.all([...own, ...retired].map((dispatcher) => dispatcher.destroy()));
    },
  };
}

function dispatcherOf(connection: DispatcherOptions, bounds: Agent.Options): Dispatcher {
  const options = { ...bounds, allowH2: false, keepAliveTimeout: keepAliveMs };
  const socket = { timeout: connectTimeoutMs, keepAlive: true, keepAliveInitialDelay: 10_000 };
  const tls = tlsOf(connection);
  // The two libraries type the same options of node:tls each in their own way.
  const requestTls = tls as buildConnector.BuildOptions;
  return connection.type === 'proxy' || connection.type === 'socks'
    ? new ProxyAgent({ ...options, connect: socket, uri: connection.uri, requestTls })
    : new Agent({ ...options, connect: { ...requestTls, ...socket } });
}

function tlsOf(connection: DispatcherOptions): ConnectionOptions {
  if (connection.type === 'none') return {};
  return connection.type === 'agent' ? connection.connect : connection.requestTls;
}
