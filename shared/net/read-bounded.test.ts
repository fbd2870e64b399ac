import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readBounded, readBoundedText } from './read-bounded.ts';

async function* chunks(...texts: string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}

test('a stream within the bound is read as a whole', async () => {
  assert.equal(await readBoundedText(chunks('ab', 'cd'), { maxBytes: 4, what: 'the answer' }), 'abcd');
});

test('a longer one is refused by an error that names the bound, and the stream is ended', async () => {
  let ended = false;
  async function* input(): AsyncGenerator<Buffer> {
    try {
      yield* chunks('ab', 'cd', 'ef');
    } finally {
      ended = true;
    }
  }
  await assert.rejects(readBounded(input(), { maxBytes: 3, what: 'the answer' }), {
    code: 'frame_too_large',
    message: 'the answer is larger than 3 bytes',
  });
  assert.equal(ended, true);
});

test('a declared length over the bound is refused before anything is read', async () => {
  const tooLarge = (message: string): Error => new RangeError(message);
  await assert.rejects(readBounded(chunks('a'), { maxBytes: 3, what: 'it', declaredBytes: 4, tooLarge }), RangeError);
});
