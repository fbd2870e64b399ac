import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import { silentLog } from '../log.ts';
import type { MethodTable } from '../protocol/methods.ts';
import { decode, encodeCancel, encodeError, encodeItem, encodeRequest, encodeResult, type CallId } from './codec.ts';
import { createPeer } from './peer.ts';

const methods = {
  echo: { summary: 'Echo.', scopes: ['read'], params: z.looseObject({}), item: z.int(), result: z.looseObject({}) },
  wait: { summary: 'Ends when aborted.', scopes: ['read'], params: z.looseObject({}), result: z.looseObject({}) },
  throws: { summary: 'Throws.', scopes: ['read'], params: z.looseObject({}), result: z.looseObject({}) },
  admin: { summary: 'Not allowed.', scopes: ['admin'], params: z.looseObject({}), result: z.looseObject({}) },
} as const satisfies MethodTable;

/** A socket without a network: it records what the peer sends, and confirms a close at once. */
class FakeSocket extends EventEmitter {
  readonly sent: string[] = [];
  readonly bufferedAmount = 0;
  closedWith: { code: number; reason: string } | undefined;

  send(frame: string, done: () => void): void {
    assert.equal(this.closedWith, undefined, 'nothing is sent after the close');
    this.sent.push(frame);
    done();
  }

  ping(): void {}

  close(code: number, reason: string): void {
    if (this.closedWith !== undefined) return;
    this.closedWith = { code, reason };
    this.emit('close', code, Buffer.from(reason));
  }

  terminate(): void {
    this.close(1006, '');
  }

  receive(frame: string | Buffer): void {
    this.emit('message', Buffer.from(frame as string), typeof frame !== 'string');
  }
}

function setUp() {
  const socket = new FakeSocket();
  const handlersRunning = { count: 0 };
  const peer = createPeer({
    socket: socket as unknown as WebSocket,
    local: methods,
    handlers: {
      echo: async (params, { emit }) => {
        await emit(1);
        return params;
      },
      wait: async (_params, { signal }) => {
        handlersRunning.count += 1;
        if (!signal.aborted) await once(signal, 'abort');
        handlersRunning.count -= 1;
        throw signal.reason;
      },
      throws: () => {
        throw new Error('thrown');
      },
      admin: async () => ({}),
    },
    remote: methods,
    identity: { name: 'fuzz', scopes: ['read'] },
    limits: { maxFrameBytes: 100_000, maxCallsInFlight: 8 },
    log: silentLog,
  });
  return { socket, peer, handlersRunning };
}

/** Handlers and answers need a few turns of the event loop, but no timers. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function answersTo(sent: readonly string[], id: CallId | null): number {
  return sent.map((frame) => decode(frame)).filter((m) => (m.kind === 'result' || m.kind === 'error') && m.id === id)
    .length;
}

const id = fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constantFrom('a', 'b', ''));
const method = fc.constantFrom('echo', 'wait', 'throws', 'admin', 'none', '__proto__', 'toString');
const params = fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), fc.array(fc.jsonValue()), fc.constant(undefined));

const validFrame = fc.oneof(
  fc.tuple(id, method, params).map(([i, m, p]) => encodeRequest(i, m, p, undefined)),
  id.map((i) => encodeCancel(i)),
  fc.tuple(id, fc.jsonValue()).map(([i, item]) => encodeItem(i, item)),
  fc.tuple(id, fc.jsonValue()).map(([i, result]) => encodeResult(i, result)),
  fc.tuple(fc.option(id), fc.string()).map(([i, text]) => encodeError(i, new AppError('app_crashed', text))),
);

/** A valid frame with bytes replaced, removed or repeated. */
const mutatedFrame = fc
  .tuple(validFrame, fc.nat(), fc.nat({ max: 6 }), fc.string({ maxLength: 4 }))
  .map(([frame, at, length, text]) => {
    const start = at % frame.length;
    return frame.slice(0, start) + text + frame.slice(start + length);
  });

/** Well-formed JSON with the right members and arbitrary values. */
const oddMessage = fc
  .record(
    {
      jsonrpc: fc.oneof({ weight: 4, arbitrary: fc.constant('2.0') }, fc.jsonValue()),
      id: fc.oneof(id, fc.jsonValue()),
      method: fc.oneof(method, fc.constantFrom('rpc.item', 'rpc.cancel'), fc.jsonValue()),
      params: fc.jsonValue(),
      meta: fc.jsonValue(),
      result: fc.jsonValue(),
      error: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  .map((message) => JSON.stringify(message));

const anyFrame = fc.oneof(
  validFrame,
  mutatedFrame,
  oddMessage,
  fc.string(),
  fc.json(),
  fc.uint8Array().map((bytes) => Buffer.from(bytes).toString('latin1')),
);

test('whatever arrives, in whatever order, the peer never throws, answers or closes, and leaves nothing behind', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyFrame, { maxLength: 40 }), fc.nat({ max: 4 }), async (frames, ownCalls) => {
      const { socket, peer, handlersRunning } = setUp();
      const own = Array.from({ length: ownCalls }, () => peer.call('echo', {}, { onItem: () => {} }));
      const settled = Promise.allSettled(own);

      for (const frame of frames) {
        const open = socket.closedWith === undefined;
        const before = socket.sent.length;
        socket.receive(frame);
        const message = decode(frame);
        // A malformed frame is refused at once; a frame that looks like an answer may end one of our calls instead.
        if (open && message.kind === 'malformed' && message.brokenId === undefined) {
          assert.ok(socket.sent.length > before || socket.closedWith !== undefined, frame);
        }
      }
      await settle();
      if (socket.closedWith === undefined) {
        for (const frame of frames) {
          const message = decode(frame);
          if (message.kind === 'request') socket.receive(encodeCancel(message.id));
        }
        await settle();
      }
      if (socket.closedWith === undefined) {
        const requests = frames.map((frame) => decode(frame)).filter((message) => message.kind === 'request');
        for (const one of new Set(requests.map((message) => message.id))) {
          const asked = requests.filter((message) => message.id === one).length;
          assert.equal(answersTo(socket.sent, one), asked, `answers to ${one}`);
        }
        // The peer still works: it answers another call.
        socket.receive(encodeRequest('last', 'echo', {}, undefined));
        await settle();
        assert.equal(answersTo(socket.sent, 'last'), 1);
      }
      await peer.close();
      await settled;
      await settle();
      assert.equal(handlersRunning.count, 0);
      assert.equal(peer.closed.aborted, true);
    }),
    { numRuns: 400 },
  );
});

test('what is decoded from any text is a message of a known kind, and a valid one survives the round trip', () => {
  fc.assert(
    fc.property(anyFrame, (frame) => {
      assert.ok(decode(frame).kind);
    }),
    { numRuns: 2_000 },
  );
  fc.assert(
    fc.property(
      id,
      fc.dictionary(
        fc.string().filter((key) => key !== '__proto__'),
        fc.jsonValue(),
      ),
      fc.option(fc.nat(), { nil: undefined }),
      (i, p, deadlineMs) => {
        const frame = encodeRequest(i, 'echo', p, deadlineMs);
        const message = decode(frame);
        assert.ok(message.kind === 'request');
        assert.deepEqual([message.id, message.method, message.deadlineMs], [i, 'echo', deadlineMs]);
        assert.equal(JSON.stringify(message.params), JSON.stringify(JSON.parse(frame).params));
      },
    ),
  );
});

test('a parameter named __proto__ is no parameter, and changes no prototype', () => {
  const message = decode('{"jsonrpc":"2.0","id":1,"method":"echo","params":{"__proto__":{"polluted":true},"a":1}}');
  assert.ok(message.kind === 'request');
  assert.equal(JSON.stringify(message.params), '{"a":1}');
  assert.equal('polluted' in (message.params as object), false);
});
