import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { body, changed, changes, chunks, cutAt, field, checkProperty, lineEnd } from '../testing/grammar.ts';
import { readNodesRequests, readOurRequests, nodeKnows, type Message, type Reading } from '../testing/oracle.ts';

/**
 * A reading of ours has to be a beginning of node's, request for request; we may stop earlier, never see another one. The one
 * difference that is meant: we take any token for a method, and node only those that it knows. So node reads the same bytes with
 * a method that it knows in these places, and has to see the same requests there.
 */
function compare(parts: readonly Buffer[]): void {
  const starts: number[] = [];
  const { messages, refused } = readOurRequests(parts, starts);
  const unknown = messages.flatMap(({ start: [method] }, index) => (nodeKnows(method) ? [] : [{ method, index }]));
  if (unknown.length === 0) {
    compareKnown({ messages, refused }, parts);
    return;
  }
  let text = Buffer.concat(parts).toString('latin1');
  for (const { method, index } of unknown.toReversed()) {
    const at = text.indexOf(method, starts[index]);
    text = text.slice(0, at) + standIn + text.slice(at + method.length);
  }
  const known = messages.map(({ start: [method, target], ...rest }): Message => ({
    ...rest,
    start: [nodeKnows(method) ? method : standIn, target],
  }));
  compareKnown({ messages: known, refused }, [Buffer.from(text, 'latin1')]);
}

/** Has no rules of its own, as GET and CONNECT have. */
const standIn = 'PATCH';

function compareKnown(ours: Reading, parts: readonly Buffer[]): void {
  const nodes = readNodesRequests(parts);
  // Node stops at what says that its connection closes, and at an Upgrade.
  const last = nodes.messages.length;
  for (const [index, message] of ours.messages.entries()) {
    if (index >= last && closes(ours.messages.slice(0, index))) return;
    assert.deepEqual(message, nodes.messages[index], `request ${index}`);
  }
  if (nodes.refused && ours.messages.length === last && !closes(ours.messages)) {
    // What node refuses we refuse too, as soon as it is whole: never looser.
    const more = readOurRequests([...parts, Buffer.from('\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n')]);
    assert.ok(ours.refused || more.refused || more.messages.length === last, 'looser than node');
  }
}

function closes(messages: readonly Message[]): boolean {
  return messages.some(
    ({ minor, fields, start }) =>
      minor === 0 ||
      start[0] === 'CONNECT' ||
      fields.some((text) => /^(connection|upgrade|close|proxy-connection)$/i.test(text)),
  );
}

const requestLine = fc
  .tuple(
    fc.constantFrom(
      'GET',
      'POST',
      'POST',
      'PUT',
      'HEAD',
      'OPTIONS',
      'get',
      'LIST',
      "!#$%&'*+-.^_`|~9",
      'PRI',
      'M-SEARCH',
      '',
      'G\0T',
      'QUERY',
    ),
    fc.constantFrom(' ', ' ', ' ', ' ', ' ', '  ', '\t', ''),
    fc.constantFrom('/', '/x?y', '*', 'http://h/x', '/\xe9', '/a b', '/a\0', '//', '', 'x', '/#a', '/a\t'),
    fc.constantFrom(' ', ' ', ' ', ' ', ' ', '  ', '\t', ''),
    fc.constantFrom(
      'HTTP/1.1',
      'HTTP/1.1',
      'HTTP/1.1',
      'HTTP/1.1',
      'HTTP/1.1',
      'HTTP/1.0',
      'HTTP/2.0',
      'HTTP/1.2',
      'HTTP/11',
      'http/1.1',
      'HTTP/1.1 ',
      '',
    ),
    lineEnd,
  )
  .map((parts) => parts.join(''));
const request = fc
  .tuple(fc.constantFrom('', '', '', '', '\r\n', '\n'), requestLine, fc.array(field, { maxLength: 4 }), lineEnd, body)
  .map(([before, line, fields, end, rest]) => `${before}${line}Host: h\r\n${fields.join('')}${end}${rest}`);
const tokenChars = "!#$%&'*+-.^_`|~0189AZaz".split('');
const anyMethod = fc.string({ unit: fc.constantFrom(...tokenChars), minLength: 1, maxLength: 24 });
const knownMethod = fc.constantFrom('GET', 'POST', 'PATCH', 'DELETE');
/** Good ones, so that there is something behind which a bad one can hide. */
const goodRequestOf = (method: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(
      method,
      fc.oneof(
        fc.constantFrom('\r\n', 'Content-Length: 3\r\n\r\nabc'),
        chunks.map((text) => `Transfer-Encoding: chunked\r\n\r\n${text}`),
      ),
    )
    .map(([method, rest]) => `${method} /good HTTP/1.1\r\nHost: h\r\n${rest}`);
const goodRequest = goodRequestOf(fc.oneof({ weight: 3, arbitrary: knownMethod }, { weight: 1, arbitrary: anyMethod }));
const anyStream = fc.array(goodRequest, { minLength: 1, maxLength: 6 }).map((requests) => requests.join(''));
const goodStream = fc
  .array(goodRequestOf(knownMethod), { minLength: 1, maxLength: 6 })
  .map((requests) => requests.join(''));
const stream = fc
  .array(fc.oneof(request, goodRequest), { minLength: 1, maxLength: 4 })
  .map((requests) => requests.join(''));

test('the same bytes give the same requests as node’s own parser sees, or fewer', (t) => {
  checkProperty(
    t,
    fc.property(stream, (text) => compare([Buffer.from(text, 'latin1')])),
  );
});

test('bytes with single bytes changed, too', (t) => {
  checkProperty(
    t,
    fc.property(anyStream, changes, (text, list) => compare([changed(text, list)])),
  );
});

test('good requests one behind the other, bodies and all, are seen as node sees them, cut at every byte or anywhere', (t) => {
  checkProperty(
    t,
    fc.property(goodStream, fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
      const parts = cutAt(Buffer.from(text, 'latin1'), cuts);
      const nodes = readNodesRequests(parts);
      assert.equal(nodes.refused, false);
      assert.deepEqual(readOurRequests(parts), nodes);
    }),
  );
});

test('where the bytes are cut changes nothing', (t) => {
  checkProperty(
    t,
    fc.property(stream, fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
      const bytes = Buffer.from(text, 'latin1');
      assert.deepEqual(readOurRequests(cutAt(bytes, cuts)), readOurRequests([bytes]));
    }),
  );
});
