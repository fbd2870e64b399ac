import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { WebSocketFrames } from './websocket-frames.ts';

function frame(length: number, opcode: number, masked: boolean): Buffer {
  const mask = masked ? 0x80 : 0;
  const head =
    length < 126
      ? [0x80 | opcode, mask | length]
      : length < 65_536
        ? [0x80 | opcode, mask | 126, length >> 8, length & 255]
        : [0x80 | opcode, mask | 127, 0, 0, 0, 0, 0, length >> 16, (length >> 8) & 255, length & 255];
  // Payloads that look like heads.
  return Buffer.concat([Buffer.from(head), Buffer.alloc(length + (masked ? 4 : 0), 0x88)]);
}

const frames = fc.array(
  fc.record({
    length: fc.oneof(fc.integer({ min: 0, max: 130 }), fc.constantFrom(125, 126, 127, 65_535, 65_536, 70_000)),
    opcode: fc.constantFrom(0, 1, 2, 9, 10),
    masked: fc.boolean(),
  }),
  { minLength: 1, maxLength: 5 },
);

test('a gap between frames is found where a frame ends and nowhere else, however the bytes are cut', () => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1 }), (made, cuts) => {
      const parts = made.map(({ length, opcode, masked }) => frame(length, opcode, masked));
      const bytes = Buffer.concat(parts);
      const ends = new Set<number>();
      let end = 0;
      for (const part of parts) ends.add((end += part.length));
      const reader = new WebSocketFrames();
      assert.equal(reader.between, true);
      for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
        const to = Math.min(bytes.length, at + (cuts[turn % cuts.length] ?? 1));
        reader.read(bytes, at, to);
        assert.equal(reader.between, ends.has(to), `after byte ${to}`);
        at = to;
      }
      assert.equal(reader.closed, false);
    }),
  );
});

test('a Close frame that has passed is noticed', () => {
  const reader = new WebSocketFrames();
  const bytes = Buffer.concat([frame(3, 1, false), frame(2, 8, false)]);
  reader.read(bytes, 0, bytes.length);
  assert.deepEqual([reader.closed, reader.between], [true, true]);
});
