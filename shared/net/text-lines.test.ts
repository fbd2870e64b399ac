import assert from 'node:assert/strict';
import { test } from 'node:test';
import { textLines, type TextLinesOptions } from './text-lines.ts';

async function linesOf(texts: readonly (string | Buffer)[], maxBytes = 100, options?: TextLinesOptions) {
  async function* input(): AsyncGenerator<Buffer> {
    for (const text of texts) yield Buffer.from(text);
  }
  const lines: string[] = [];
  for await (const line of textLines(input(), maxBytes, options)) lines.push(line);
  return lines;
}

test('lines are put together across chunks, characters included', async () => {
  const euro = Buffer.from('€');
  assert.deepEqual(await linesOf(['a\nb', 'c\r\n\nd', euro.subarray(0, 1), euro.subarray(1)]), ['a', 'bc', '', 'd€']);
});

test('the rest of a longer line is left out, and so is a character that the bound cuts', async () => {
  assert.deepEqual(await linesOf(['abc', 'def\ngh\n'], 4), ['abcd', 'gh']);
  assert.deepEqual(await linesOf(['abc€\n'], 4), ['abc']);
});

test('of a progress bar the last state is shown, unless carriage returns are kept', async () => {
  assert.deepEqual(await linesOf(['1 %\r2 %\r\n']), ['2 %']);
  assert.deepEqual(await linesOf(['1 %\r2 %\r\n'], 100, { progressBars: false }), ['1 %\r2 %']);
});
