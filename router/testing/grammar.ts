/** For fuzzing: parts of messages of HTTP/1.1, most of them good, put together of what readers have fallen over. */
import type { TestContext } from 'node:test';
import * as fc from 'fast-check';

const blank = fc.constantFrom(' ', '', '\t', '  ', ' \t', '\v', '\0', '\xa0');
export const lineEnd = fc.constantFrom(
  '\r\n',
  '\r\n',
  '\r\n',
  '\r\n',
  '\r\n',
  '\r\n',
  '\r\n',
  '\n',
  '\r',
  '\r\r\n',
  '\r\n ',
  '',
);
const name = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom('Host', 'Content-Length', 'Transfer-Encoding', 'X-A', 'TE', 'Expect', 'Trailer'),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'content-length',
      'Content-Length ',
      'Transfer-Encoding\t',
      '',
      'X Y',
      'X\0',
      'Content_Length',
      'Keep-Alive',
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary-ascii', maxLength: 6 }) },
);
const value = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom('0', '3', '5', 'chunked', 'h', '100-continue', 'trailers', 'x') },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '+3',
      '3, 3',
      '0x3',
      '03',
      '3 ',
      ' chunked ',
      'chunked, chunked',
      'xchunked',
      '"chunked"',
      'Chunked',
      '',
      'identity',
      'gzip, chunked',
      '18446744073709551619',
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary-ascii', maxLength: 8 }) },
);
export const field = fc
  .tuple(name, fc.constantFrom(':', ':', ':', ':', ' :', ''), blank, value, lineEnd)
  .map((parts) => parts.join(''));
/** Of messages in chunks, or by length, or of nobody knows what. */
export const body = fc.oneof(
  fc.constantFrom(
    '',
    'abc',
    'abcde',
    '0\r\n\r\n',
    '3\r\nabc\r\n0\r\n\r\n',
    '3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n',
    '3;a="b"\r\nabc\r\n00\r\n\r\n',
  ),
  fc.constantFrom(
    '3\nabc\r\n0\r\n\r\n',
    '3 \r\nabc\r\n0\r\n\r\n',
    '3\r\nabcd\r\n0\r\n\r\n',
    '3;\r\nabc\r\n0\r\n\r\n',
    '3\r\nabc\n0\r\n\r\n',
    '0x3\r\nabc\r\n0\r\n\r\n',
    '3\r\nabc\r\n0\r\nX : y\r\n\r\n',
    '3;a\n=b\r\nabc\r\n0\r\n\r\n',
    '3;a=b c\r\nabc\r\n0\r\n\r\n',
    '-1\r\n\r\n',
  ),
  fc
    .array(fc.constantFrom('3', 'a', ';', '=', '"', '\r\n', '\n', 'abc', '0', ' ', '\\', 'X: y', ':'), {
      maxLength: 14,
    })
    .map((parts) => parts.join('')),
);

const trailerField = fc.constantFrom('T: u\r\n', 'X-Sum: 1\r\n', 'a:\r\n', 'Host: x\r\n', 'T: \xff \t\r\n');
const chunk = fc
  .tuple(
    fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 40 }),
    fc.constantFrom('', '', '0', '00'),
    fc.constantFrom('', '', ';a', ';a=b', ';a="b c"', ';a=b;c', ';a="";b="\xe9"'),
    fc.boolean(),
  )
  .map(([data, zeros, extension, upper]) => {
    const size = data.length.toString(16);
    return `${zeros}${upper ? size.toUpperCase() : size}${extension}\r\n${data}\r\n`;
  });
/** Good ones, with extensions and trailer fields. */
export const chunks = fc
  .tuple(
    fc.array(chunk, { maxLength: 5 }),
    fc.constantFrom('0', '00', '0;x', '0;x="y"'),
    fc.array(trailerField, { maxLength: 3 }),
  )
  .map(([list, last, trailers]) => `${list.join('')}${last}\r\n${trailers.join('')}\r\n`);

/** Single bytes changed, or put between others. */
export const changes = fc.array(
  fc.tuple(fc.nat(), fc.constantFrom(0, 9, 10, 11, 13, 32, 34, 44, 48, 58, 59, 61, 92, 127, 128, 255), fc.boolean()),
  { minLength: 1, maxLength: 3 },
);

export function changed(text: string, list: readonly (readonly [number, number, boolean])[]): Buffer {
  let bytes = Buffer.from(text, 'latin1');
  for (const [at, byte, insert] of list) {
    const pos = at % bytes.length;
    if (insert) bytes = Buffer.concat([bytes.subarray(0, pos), Buffer.from([byte]), bytes.subarray(pos)]);
    else bytes[pos] = byte;
  }
  return bytes;
}

/** @param cuts anywhere; none: at every byte. */
export function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at =
    cuts.length === 0
      ? Array.from({ length: bytes.length }, (_, index) => index + 1)
      : [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}

/** More runs where one looks for long, by HOLDFAST_FUZZ_RUNS; a seed once more by HOLDFAST_FUZZ_SEED. */
export function checkProperty<T>(t: TestContext, property: fc.IProperty<T>): void {
  const { HOLDFAST_FUZZ_RUNS: runs = '5000', HOLDFAST_FUZZ_SEED: given } = process.env;
  const seed = given === undefined ? Math.trunc(Math.random() * 2 ** 31) : Number(given);
  fc.assert(property, { numRuns: Number(runs), seed });
  t.diagnostic(`${runs} runs, seed ${seed}`);
}
