import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { heldBytes, unsentBytes } from '../io/socket-state.ts';
import { SocketIo } from '../io/socket-io.ts';
import { HeadWriter } from './head-writer.ts';

interface StreamWrap {
  readonly streamBaseState: Int32Array;
  readonly kLastWriteWasAsync: number;
}

/** What Node has below a socket, with a kernel that takes nothing until it is told to. */
class TCP {
  waiting: { readonly oncomplete: (status: number) => void } | undefined;
  parts: readonly Buffer[] = [];

  writeBuffer(request: { readonly oncomplete: (status: number) => void }, bytes: Buffer): number {
    return this.writev(request, [bytes]);
  }

  writev(request: { readonly oncomplete: (status: number) => void }, parts: readonly Buffer[]): number {
    const wrap = (process as unknown as { binding(name: string): StreamWrap }).binding('stream_wrap');
    wrap.streamBaseState[wrap.kLastWriteWasAsync] = 1;
    this.waiting = request;
    this.parts = parts;
    return 0;
  }

  take(): void {
    this.waiting?.oncomplete(0);
    this.parts = [];
  }
}

function stalledSocket(): Socket & { readonly _handle: TCP } {
  const made = {
    _handle: new TCP(),
    writableLength: 0,
    writableEnded: false,
    writableNeedDrain: false,
    emit: () => true,
  };
  return made as unknown as Socket & { readonly _handle: TCP };
}

test('what a message that waits keeps in memory is its own, counted whole, and little more than the message', () => {
  // Broke: 300 bytes that waited kept a slab of 256 KiB, which others had filled and left, and counted as 300.
  const writer = new HeadWriter(new SocketIo());
  const attackers: ReturnType<typeof stalledSocket>[] = [];
  for (let count = 0; count < 100; count += 1) {
    const attacker = stalledSocket();
    attackers.push(attacker);
    writer.latin1('x'.repeat(300));
    writer.send(attacker);
    const others = [stalledSocket(), stalledSocket()];
    for (const other of others) {
      writer.range(Buffer.alloc(70_000), 0, 70_000);
      writer.send(other);
    }
    for (const other of others) other._handle.take();
    assert.deepEqual(others.map(heldBytes), [0, 0]);
  }
  const kept = new Set(attackers.flatMap(({ _handle }) => _handle.parts.map(({ buffer }) => buffer)));
  let keptBytes = 0;
  for (const { byteLength } of kept) keptBytes += byteLength;
  let counted = 0;
  for (const attacker of attackers) {
    assert.equal(unsentBytes(attacker), 300);
    counted += heldBytes(attacker);
  }
  assert.equal(kept.size, 100);
  assert.equal(counted, keptBytes);
  assert.equal(keptBytes, 100 * 4_096);
});

test('a large message keeps at most twice its size, and bytes that are lent for it count as a whole', () => {
  const writer = new HeadWriter(new SocketIo());
  for (const bytes of [4_097, 9_000, 30_000, 66_000, 90_000, 200_000]) {
    const socket = stalledSocket();
    for (let at = 0; at < bytes; at += 1_000) writer.range(Buffer.alloc(1_000), 0, Math.min(1_000, bytes - at));
    assert.equal(writer.length, bytes);
    writer.send(socket);
    assert.equal(unsentBytes(socket), bytes);
    assert.ok(heldBytes(socket) <= 2 * bytes, `${heldBytes(socket)} for ${bytes}`);
  }
  const socket = stalledSocket();
  const lent = Buffer.allocUnsafeSlow(81_920);
  writer.latin1('4e20\r\n');
  writer.sendBefore(socket, lent.subarray(0, 20_000));
  assert.equal(unsentBytes(socket), 20_006);
  assert.equal(heldBytes(socket), 4_096 + 81_920);
  socket._handle.take();
  assert.equal(heldBytes(socket), 0);
});

test('messages that wait stay as they were while others are put together', () => {
  const writer = new HeadWriter(new SocketIo());
  const sockets = [10, 5_000, 300, 70_000, 20].map((bytes, index) => {
    const socket = stalledSocket();
    writer.latin1(String(index).repeat(bytes));
    writer.send(socket);
    return { socket, text: String(index).repeat(bytes) };
  });
  writer.latin1('z'.repeat(90_000));
  writer.discard();
  writer.latin1('z');
  assert.equal(writer.take().toString(), 'z');
  for (const { socket, text } of sockets) assert.equal(Buffer.concat(socket._handle.parts).toString(), text);
});
