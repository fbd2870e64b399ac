/** Test kit: two peers on one real connection, with methods of every kind. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import type { ErrorCode } from '../../error-codes.ts';
import { AppError } from '../../errors.ts';
import { silentLog } from '../../log.ts';
import type { MethodTable } from '../../protocol/methods.ts';
import type { Clock } from '../../wait/clock.ts';
import type { RpcLimits } from '../limits.ts';
import { createPeer } from '../peer.ts';
import type { Handlers, Identity, NotificationHandlers, Peer } from '../types.ts';

const serverMethods = {
  add: {
    summary: 'Sum of two numbers.',
    scopes: ['read'],
    params: z.strictObject({ a: z.number(), b: z.number().default(1) }),
    result: z.strictObject({ sum: z.number() }),
  },
  deploy: { summary: 'For deploy only.', scopes: ['deploy'], params: z.strictObject({}), result: z.strictObject({}) },
  count: {
    summary: 'Streams numbers.',
    scopes: ['read'],
    params: z.strictObject({ to: z.int() }),
    item: z.strictObject({ n: z.int() }),
    result: z.strictObject({ done: z.boolean() }),
  },
  wait: { summary: 'Ends when cancelled.', scopes: ['read'], params: z.strictObject({}), result: z.strictObject({}) },
  fail: {
    summary: 'Fails as told.',
    scopes: ['read'],
    params: z.strictObject({ how: z.enum(['app', 'bug', 'badResult', 'badItem']) }),
    item: z.strictObject({ n: z.int() }),
    result: z.strictObject({ sum: z.number() }),
  },
  callback: {
    summary: 'Calls back.',
    scopes: ['read'],
    params: z.strictObject({}),
    result: z.strictObject({ name: z.string() }),
  },
  blob: {
    summary: 'A long answer.',
    scopes: ['read'],
    params: z.strictObject({ bytes: z.int() }),
    result: z.strictObject({ text: z.string() }),
  },
} as const satisfies MethodTable;

const clientMethods = {
  whoami: {
    summary: 'Name.',
    scopes: ['router'],
    params: z.strictObject({}),
    result: z.strictObject({ name: z.string() }),
  },
} as const satisfies MethodTable;

type ServerMethods = typeof serverMethods;
type ClientMethods = typeof clientMethods;

/** The aborts and ends that the handlers of a test have observed. */
interface Seen {
  readonly aborts: string[];
  readonly waiting: PromiseWithResolvers<undefined>;
}

function serverHandlers(seen: Seen): Handlers<ServerMethods, ClientMethods> {
  return {
    add: async ({ a, b }) => ({ sum: a + b }),
    deploy: async () => ({}),
    count: async ({ to }, { emit }) => {
      for (let n = 1; n <= to; n += 1) await emit({ n });
      return { done: true };
    },
    wait: async (_params, { signal }) => {
      seen.waiting.resolve(undefined);
      await once(signal, 'abort');
      seen.aborts.push((signal.reason as AppError).code);
      throw signal.reason;
    },
    fail: async ({ how }, { emit }) => {
      if (how === 'app') {
        throw new AppError('app_crashed', 'exit 1', { phase: 'start', retryAfterMs: 5, data: { logs: ['last line'] } });
      }
      if (how === 'bug') throw new TypeError('secret-host is undefined');
      if (how === 'badItem') await emit({ n: 'one' } as never);
      return { sum: 'three' } as never;
    },
    callback: async (_params, { peer }) => {
      assert.ok(peer);
      return await peer.call('whoami', {});
    },
    blob: async ({ bytes }) => ({ text: 'x'.repeat(bytes) }),
  };
}

interface Options {
  readonly identity?: Identity;
  readonly serverLimits?: Partial<RpcLimits>;
  readonly clientLimits?: Partial<RpcLimits>;
  readonly clock?: Clock;
  readonly notifications?: NotificationHandlers<ClientMethods>;
}

/** Connects two peers by one real connection; `raw` is the client's socket. */
export async function pair(t: TestContext, options: Options = {}) {
  const { identity = { name: 'tester', scopes: ['read'] }, clock } = options;
  const seen: Seen = { aborts: [], waiting: Promise.withResolvers() };
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  const accepted = Promise.withResolvers<Peer<ClientMethods>>();
  server.on('connection', (socket) => {
    accepted.resolve(
      createPeer({
        socket,
        local: serverMethods,
        handlers: serverHandlers(seen),
        remote: clientMethods,
        identity,
        log: silentLog,
        limits: options.serverLimits ?? {},
        ...(options.notifications && { notifications: options.notifications }),
        ...(clock && { clock }),
      }),
    );
  });
  await once(server, 'listening');
  const raw = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const client = createPeer<ClientMethods, ServerMethods>({
    socket: raw,
    local: clientMethods,
    handlers: { whoami: async () => ({ name: 'client' }) },
    remote: serverMethods,
    identity: { name: 'server', scopes: ['admin'] },
    log: silentLog,
    limits: options.clientLimits ?? {},
  });
  await once(raw, 'open');
  const serverPeer = await accepted.promise;
  t.after(async () => {
    await Promise.all([client.close(), serverPeer.close()]);
    await new Promise((resolve) => server.close(resolve));
  });
  return { client, serverPeer, raw, seen };
}

export function withCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}

/** A clock that only advances when a test advances it. */
export function handClock(): Clock & { advance(ms: number): void } {
  let nowMs = 0;
  const timers = new Map<object, { atMs: number; task: () => void }>();
  return {
    nowMs: () => nowMs,
    after(delayMs, task) {
      const key = {};
      timers.set(key, { atMs: nowMs + delayMs, task });
      return () => timers.delete(key);
    },
    advance(ms) {
      nowMs += ms;
      for (const [key, timer] of timers) {
        if (timer.atMs > nowMs) continue;
        timers.delete(key);
        timer.task();
      }
    },
  };
}
