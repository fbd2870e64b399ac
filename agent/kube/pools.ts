/**
 * Connections to the API server, HTTP/1.1 only: with HTTP/2 all share one socket, and many streams that are aborted at
 * once were seen to leave undici's count of running ones too high, after which every request waited for ever.
 */
import { Agent } from 'undici';
import type { TlsOptions } from './access.ts';

export interface Pools {
  /** Bounded; what is over the bound waits for its turn. */
  requests(tls: TlsOptions): Agent;
  /** A connection for each stream: those who open streams bound them. */
  streams(tls: TlsOptions): Agent;
  /** A request ended: several in a row without an answer in time, and the connections are made anew. */
  answered(inTime: boolean): void;
  close(): Promise<void>;
}

interface Pair {
  readonly tls: TlsOptions;
  requests: Agent;
  readonly streams: Agent;
}

const connectTimeoutMs = 5_000;
/** Below the idle limit of usual load balancers before API servers. */
const keepAliveMs = 20_000;
/** Behind the deadlines of the requests themselves: for what those might miss. */
const requestTimeoutMs = 15_000;
const maxTimeoutsInARow = 3;

export function createPools(deps: { readonly maxRequests: number }): Pools {
  let current: Pair | undefined;
  let timeouts = 0;
  const retired = new Set<Agent>();

  function pair(tls: TlsOptions): Pair {
    if (current !== undefined && sameTls(current.tls, tls)) return current;
    if (current !== undefined) {
      // New certificates: what runs on the old ones may end.
      for (const old of [current.requests, current.streams]) {
        retired.add(old);
        void old.close().finally(() => retired.delete(old));
      }
    }
    current = { tls, requests: requestsAgent(tls), streams: agentOf(tls, { bodyTimeout: 0, headersTimeout: 0 }) };
    return current;
  }

  function requestsAgent(tls: TlsOptions): Agent {
    return agentOf(tls, {
      connections: deps.maxRequests,
      headersTimeout: requestTimeoutMs,
      bodyTimeout: requestTimeoutMs,
    });
  }

  return {
    requests: (tls) => pair(tls).requests,
    streams: (tls) => pair(tls).streams,
    answered(inTime) {
      timeouts = inTime ? 0 : timeouts + 1;
      if (timeouts < maxTimeoutsInARow || current === undefined) return;
      timeouts = 0;
      const old = current.requests;
      current.requests = requestsAgent(current.tls);
      retired.add(old);
      // Not closed: that would wait for the requests that have no end.
      void old.destroy().finally(() => retired.delete(old));
    },
    async close() {
      const own = current === undefined ? [] : [current.requests, current.streams];
      await Promise.all([...own, ...retired].map((agent) => agent.destroy()));
    },
  };
}

function agentOf(tls: TlsOptions, options: Agent.Options): Agent {
  return new Agent({
    connect: { ...tls, timeout: connectTimeoutMs, keepAlive: true, keepAliveInitialDelay: 10_000 },
    allowH2: false,
    keepAliveTimeout: keepAliveMs,
    ...options,
  });
}

function sameTls(a: TlsOptions, b: TlsOptions): boolean {
  const keys = ['ca', 'cert', 'key', 'servername', 'rejectUnauthorized'] as const;
  return keys.every((key) => String(a[key]) === String(b[key]));
}
