/** A real RPC server with a small method table, for the tests beside it. */
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { z } from 'zod';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import type { MethodTable } from '../../shared/protocol/methods.ts';
import type { Handlers } from '../../shared/rpc/types.ts';
import { tokensOf } from './tokens.ts';
import { createRpcServer, type RpcServer, type RpcServerOptions } from '../rpc/server.ts';

const none = z.strictObject({});

export const testMethods = {
  add: {
    summary: 'Sum of two numbers.',
    scopes: ['read'],
    params: z.strictObject({ a: z.number(), b: z.number() }),
    result: z.strictObject({ sum: z.number() }),
  },
  count: {
    summary: 'Streams numbers.',
    scopes: ['read'],
    params: z.strictObject({ to: z.int(), padding: z.int().default(0) }),
    item: z.looseObject({ n: z.int() }),
    result: z.strictObject({ done: z.boolean() }),
  },
  wait: { summary: 'Ends when cancelled.', scopes: ['read'], params: none, result: none },
  deploy: { summary: 'For deploy only.', scopes: ['deploy'], params: none, result: none },
  fail: { summary: 'Fails.', scopes: ['read'], params: none, result: none },
} as const satisfies MethodTable;

const noMethods = {} as const satisfies MethodTable;
type None = typeof noMethods;

/** @param name one of reader, deployer, router, admin. */
export function token(name: string): string {
  return `token-of-${name}`;
}

interface Seen {
  /** `wait` has been called. */
  readonly waiting: PromiseWithResolvers<undefined>;
  /** Code with which `wait` was first aborted. */
  readonly aborted: PromiseWithResolvers<string>;
  /** Handlers that have begun and not ended. */
  running: number;
}

export async function startTestServer(
  t: TestContext,
  options: Partial<Pick<RpcServerOptions<typeof testMethods, None>, 'limits' | 'isLeader' | 'whyNotLeader'>> = {},
): Promise<{ url: string; port: number; server: RpcServer; seen: Seen; close: () => Promise<void> }> {
  const seen: Seen = { waiting: Promise.withResolvers(), aborted: Promise.withResolvers(), running: 0 };
  const server = createRpcServer({
    tokens: tokensOf([
      { name: 'reader', scopes: ['read'], value: token('reader') },
      { name: 'deployer', scopes: ['deploy'], value: token('deployer') },
      { name: 'router', scopes: ['router'], value: token('router') },
    ]),
    local: testMethods,
    remote: noMethods,
    handlers: handlers(seen),
    isLeader: options.isLeader ?? (() => true),
    ...(options.whyNotLeader && { whyNotLeader: options.whyNotLeader }),
    limits: options.limits ?? {},
    log: silentLog,
  });
  const port = await server.listen({ host: '127.0.0.1', port: 0 });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= server.close());
  t.after(close);
  return { url: `http://127.0.0.1:${port}`, port, server, seen, close };
}

function handlers(seen: Seen): Handlers<typeof testMethods, None> {
  return {
    add: async ({ a, b }) => ({ sum: a + b }),
    count: async ({ to, padding }, { emit }) => {
      seen.running += 1;
      try {
        for (let n = 1; n <= to; n += 1) await emit({ n, ...(padding > 0 && { padding: 'x'.repeat(padding) }) });
        return { done: true };
      } finally {
        seen.running -= 1;
      }
    },
    wait: async (_params, { signal }) => {
      seen.running += 1;
      seen.waiting.resolve(undefined);
      if (!signal.aborted) await once(signal, 'abort');
      seen.running -= 1;
      seen.aborted.resolve((signal.reason as AppError).code);
      throw signal.reason;
    },
    deploy: async () => ({}),
    fail: async () => {
      throw new AppError('app_crashed', 'exit 1', { phase: 'start', data: { logs: ['last line'] } });
    },
  };
}
