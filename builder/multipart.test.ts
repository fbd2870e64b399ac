import assert from 'node:assert/strict';
import { test } from 'node:test';
import { array, assert as holds, asyncProperty, constantFrom, integer } from 'fast-check';
import { boundaryOf, readParts } from './multipart.ts';

async function read(body: Buffer, boundary: string, chunkBytes = 7): Promise<[string, string][]> {
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let at = 0; at < body.length; at += chunkBytes) yield body.subarray(at, at + chunkBytes);
  }
  const parts: [string, string][] = [];
  for await (const { name, content } of readParts(chunks(), boundary)) {
    let text = '';
    for await (const chunk of content) text += chunk.toString('latin1');
    parts.push([name, text]);
  }
  return parts;
}

test('the boundary is found as programs write it', () => {
  assert.equal(boundaryOf('multipart/form-data; boundary=abc'), 'abc');
  assert.equal(boundaryOf('multipart/form-data; charset=utf-8; boundary="a b"'), 'a b');
  for (const wrong of [undefined, 'application/json', 'multipart/form-data', 'multipart/mixed; boundary=x']) {
    assert.throws(() => boundaryOf(wrong), { code: 'invalid_request' });
  }
});

test('parts are read as they were written, however the body is cut', async () => {
  const piece = constantFrom('\r\n', '--', '\r\n--b', '\r\n--bound', 'x', '\r', '\n', '-');
  await holds(
    asyncProperty(array(piece), array(piece), integer({ min: 1, max: 64 }), async (a, b, chunkBytes) => {
      const [first, second] = [a.join(''), b.join('')];
      const body = [
        'before it all',
        `--boundary\r\nContent-Disposition: form-data; name="meta"\r\n\r\n${first}`,
        `--boundary\r\nContent-Type: x/y\r\ncontent-disposition: form-data; name=file; filename="f"\r\n\r\n${second}`,
        '--boundary--\r\nafter it all',
      ].join('\r\n');
      const expected = [
        ['meta', first],
        ['file', second],
      ];
      assert.deepEqual(await read(Buffer.from(body), 'boundary', chunkBytes), expected);
    }),
    { numRuns: 200 },
  );
});

test('a body that ends too early, or has endless heads, is refused', async () => {
  const head = '--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n';
  for (const body of ['', '--b', `${head}content`, `--b\r\n${'x'.repeat(10_000)}`, '--bad\r\n\r\n\r\n--b--']) {
    await assert.rejects(read(Buffer.from(body), 'b'), { code: 'invalid_request' }, body.slice(0, 40));
  }
});

test('what a reader leaves of a part is not taken for the next one', async () => {
  const body = Buffer.from(
    '--b\r\n\r\nskipped\r\n--b\r\nContent-Disposition: form-data; name="n"\r\n\r\nread\r\n--b--',
  );
  const names: string[] = [];
  async function* whole(): AsyncGenerator<Buffer> {
    yield body;
  }
  for await (const { name } of readParts(whole(), 'b')) names.push(name);
  assert.deepEqual(names, ['', 'n']);
});
