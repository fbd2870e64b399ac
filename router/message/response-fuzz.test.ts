import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { body, changed, changes, chunks, cutAt, field, checkProperty, lineEnd } from '../testing/grammar.ts';
import { readNodesAnswers, readOurAnswers, type Message } from '../testing/oracle.ts';

/**
 * A reading of ours has to be a beginning of node's, answer for answer; we may stop earlier, never see another one. Two
 * differences are meant: the router takes equal Content-Lengths and blanks in chunk lines, which node refuses. Without them the
 * reading is compared with node's; with them it has to begin with the same answers.
 */
function compare(parts: readonly Buffer[], heads: readonly boolean[]): void {
  const ours = readOurAnswers(parts, heads, false);
  const tolerant = readOurAnswers(parts, heads);
  assert.deepEqual(tolerant.messages.slice(0, ours.messages.length), ours.messages, 'the tolerant reading');
  const nodes = readNodesAnswers(parts, heads);
  const last = nodes.messages.length;
  for (const [index, message] of ours.messages.entries()) {
    // Node reads nothing behind an answer that says that its connection closes: nor does the router.
    if (index >= last && closes(ours.messages.slice(0, index))) return;
    assert.deepEqual(message, nodes.messages[index], `answer ${index}`);
  }
}

function closes(messages: readonly Message[]): boolean {
  return messages.some(
    ({ minor, fields }) =>
      minor === 0 || fields.some((text) => /^(connection|upgrade|close|proxy-connection)$/i.test(text)),
  );
}

const statusLine = fc
  .tuple(
    fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'http/1.1', 'HTTP/1.', ''),
    fc.constantFrom(' ', ' ', ' ', ' ', ' ', '  ', '\t', ''),
    fc.constantFrom(
      '200',
      '200',
      '204',
      '304',
      '100',
      '103',
      '101',
      '404',
      '999',
      '099',
      '20',
      '2000',
      '-20',
      'abc',
      '',
    ),
    fc.constantFrom(' ', ' ', ' ', ' ', ' ', '', '  ', '\t'),
    fc.constantFrom('OK', '', 'Not So \xe9', 'a\0b', 'a\tb', 'x\v'),
    lineEnd,
  )
  .map((parts) => parts.join(''));
const answer = fc
  .tuple(statusLine, fc.array(field, { maxLength: 4 }), lineEnd, body)
  .map(([line, fields, end, rest]) => `${line}${fields.join('')}${end}${rest}`);
const goodAnswer = fc.oneof(
  fc.constantFrom(
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc',
    'HTTP/1.1 204 No Content\r\n\r\n',
    'HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n',
    'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\n',
  ),
  chunks.map((text) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${text}`),
);
const goodStream = fc
  .tuple(
    fc.array(goodAnswer, { minLength: 1, maxLength: 5 }),
    fc.constantFrom('', 'HTTP/1.1 200 OK\r\nA: b\r\n\r\nto the end'),
  )
  .map(([answers, last]) => answers.join('') + last);
const stream = fc
  .array(fc.oneof(answer, goodAnswer), { minLength: 1, maxLength: 4 })
  .map((answers) => answers.join(''));
const noHeads: readonly boolean[] = [];
/** Of answers whose body is missing, since they are to HEAD. */
const toHeads = fc
  .array(
    fc.constantFrom(
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
      'HTTP/1.1 404 Not Found\r\n\r\n',
      'HTTP/1.1 103 Early Hints\r\n\r\n',
    ),
    { minLength: 1, maxLength: 5 },
  )
  .map((answers) => answers.join(''));

test('the same bytes give the same answers as node’s own parser sees, or fewer', (t) => {
  checkProperty(
    t,
    fc.property(stream, fc.array(fc.boolean(), { maxLength: 4 }), (text, heads) =>
      compare([Buffer.from(text, 'latin1')], heads),
    ),
  );
});

test('bytes of answers with single bytes changed, too', (t) => {
  checkProperty(
    t,
    fc.property(goodStream, changes, (text, list) => compare([changed(text, list)], noHeads)),
  );
});

test('good answers, bodies, trailers and all, are seen as node sees them, cut at every byte or anywhere', (t) => {
  checkProperty(
    t,
    fc.property(goodStream, fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
      const parts = cutAt(Buffer.from(text, 'latin1'), cuts);
      const nodes = readNodesAnswers(parts, noHeads);
      assert.equal(nodes.refused, false);
      assert.deepEqual(readOurAnswers(parts, noHeads), nodes);
    }),
  );
});

test('answers to HEAD have no body, whatever they say', (t) => {
  checkProperty(
    t,
    fc.property(toHeads, fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
      const parts = cutAt(Buffer.from(text, 'latin1'), cuts);
      const heads = Array.from({ length: 5 }, () => true);
      assert.deepEqual(readOurAnswers(parts, heads), readNodesAnswers(parts, heads));
    }),
  );
});

test('where the bytes of answers are cut changes nothing', (t) => {
  checkProperty(
    t,
    fc.property(stream, fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
      const bytes = Buffer.from(text, 'latin1');
      assert.deepEqual(readOurAnswers(cutAt(bytes, cuts), noHeads), readOurAnswers([bytes], noHeads));
    }),
  );
});

/** One answer, as an app should send it, and as the router takes it too. */
const twoForms = fc
  .record({
    data: fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 20 }), { maxLength: 4 }),
    blanks: fc.array(fc.constantFrom('', ' ', '\t', '   ', ' \t '), { minLength: 1, maxLength: 9 }),
    lengths: fc.constantFrom(', N', ',N', ' , N,\tN', '\r\nContent-Length: N', '\r\ncontent-length:N, N'),
    chunked: fc.boolean(),
  })
  .map(({ data, blanks, lengths, chunked }) => {
    const length = String(data.join('').length);
    const blank = (index: number): string => blanks[index % blanks.length] ?? '';
    const inChunks = (pad: (index: number) => string): string =>
      [...data, '']
        .map(
          (text, i) =>
            `${text.length.toString(16)}${pad(i)};a${pad(i + 1)}=${pad(i + 2)}b${pad(i + 3)}\r\n${text}${text === '' ? '' : '\r\n'}`,
        )
        .join('');
    const head = 'HTTP/1.1 200 OK\r\n';
    return chunked
      ? {
          plain: `${head}Transfer-Encoding: chunked\r\n\r\n${inChunks(() => '')}\r\n`,
          other: `${head}Transfer-Encoding: chunked\r\n\r\n${inChunks(blank)}\r\n`,
        }
      : {
          plain: `${head}Content-Length: ${length}\r\n\r\n${data.join('')}`,
          other: `${head}Content-Length: ${length}${lengths.replaceAll('N', length)}\r\n\r\n${data.join('')}`,
        };
  });

test('equal lengths and blanks in chunk lines change nothing of the answers', (t) => {
  checkProperty(
    t,
    fc.property(fc.array(twoForms, { maxLength: 4 }), fc.array(fc.nat(), { maxLength: 8 }), (answers, cuts) => {
      const nodes = readNodesAnswers([Buffer.from(answers.map(({ plain }) => plain).join(''), 'latin1')], noHeads);
      const other = Buffer.from(answers.map((forms) => forms.other).join(''), 'latin1');
      const ours = readOurAnswers(cutAt(other, cuts), noHeads);
      assert.deepEqual([ours.refused, ours.messages.length], [false, answers.length]);
      assert.deepEqual(
        ours.messages.map(({ body: text }) => text),
        nodes.messages.map(({ body: text }) => text),
      );
    }),
  );
});
