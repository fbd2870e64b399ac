import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import { BlockList, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Client } from '../client.ts';
import { Ids } from '../ids.ts';
import { readRequestHead } from '../request-head.ts';
import { BodyReader } from './body-reader.ts';
import { RequestParser } from './request-parser.ts';

interface Message {
  readonly method: string;
  readonly target: string;
  readonly minor: number;
  readonly fields: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

/** What a reader saw: whole requests in their order, and whether it then met something that it refuses. */
interface Reading {
  readonly messages: readonly Message[];
  readonly refused: boolean;
}

const limits = { maxFields: 256, maxTrailerBytes: 8_192 };

/** Ours, on bytes cut as they are given. */
function readOurs(parts: readonly Buffer[]): Reading {
  const messages: Message[] = [];
  const parser = new RequestParser(limits);
  const reader = new BodyReader(limits);
  let block = Buffer.alloc(0);
  let inBody = false;
  let body = '';
  parser.begin(0);
  for (const part of parts) {
    let rest = inBody ? Buffer.from(part) : part;
    if (!inBody) {
      block = Buffer.concat([block, part]);
      rest = Buffer.alloc(0);
    }
    for (;;) {
      if (!inBody) {
        const progress = parser.parse(block, block.length);
        if (progress === 'bad') return { messages, refused: true };
        if (progress === 'more') break;
        if (parser.method === 'CONNECT' || !isCall(parser, block)) return { messages, refused: true };
        inBody = true;
        body = '';
        const { framing } = parser;
        if (framing.chunked) reader.beginChunked();
        else reader.beginLength(Math.max(0, framing.contentLength));
        rest = Buffer.from(block.subarray(parser.end));
      }
      reader.read(rest, 0, rest.length);
      if (reader.fault !== undefined) return { messages, refused: true };
      body += rest.toString('latin1', reader.dataStart, reader.dataEnd);
      if (!reader.done) break;
      messages.push({
        method: parser.method,
        target: block.toString('latin1', parser.targetStart, parser.targetEnd),
        minor: parser.minor,
        fields: pairs(block, parser.fields),
        body,
        trailers: reader.trailers === undefined ? [] : pairs(reader.trailers.bytes, reader.trailers.fields),
      });
      block = Buffer.from(rest.subarray(reader.next));
      inBody = false;
      parser.begin(0);
    }
  }
  return { messages, refused: false };
}

const client = new Client({ remoteAddress: '127.0.0.1' } as Socket, new BlockList());
const ids = new Ids();

function isCall(parser: RequestParser, block: Buffer): boolean {
  try {
    readRequestHead(parser, block, 0, client, ids);
    return true;
  } catch {
    return false;
  }
}

function pairs(bytes: Buffer, fields: { readonly at: readonly number[]; readonly count: number }): string[] {
  const list: string[] = [];
  for (let base = 0; base < fields.count * 5; base += 5) {
    list.push(bytes.toString('latin1', fields.at[base], fields.at[base + 1]));
    list.push(bytes.toString('latin1', fields.at[base + 2], fields.at[base + 3]));
  }
  return list;
}

/** Node's own parser, on a socket that is none. */
async function readNodes(parts: readonly Buffer[]): Promise<Reading> {
  const messages: Message[] = [];
  let refused = false;
  const server = createServer({
    requireHostHeader: false,
    maxHeaderSize: 65_536,
    keepAliveTimeout: 0,
    requestTimeout: 0,
    headersTimeout: 0,
  });
  server.maxHeadersCount = 0;
  const take = (req: IncomingMessage, res: { end(): unknown }): void => {
    let body = '';
    req.setEncoding('latin1');
    req.on('data', (chunk: string) => (body += chunk));
    req.on('error', () => undefined);
    req.on('end', () =>
      messages.push({
        method: req.method ?? '',
        target: req.url ?? '',
        minor: req.httpVersionMinor,
        fields: req.rawHeaders,
        body,
        trailers: req.rawTrailers,
      }),
    );
    res.end();
  };
  server.on('request', take);
  server.on('checkContinue', take);
  server.on('checkExpectation', take);
  server.on('connect', () => (refused = true));
  server.on('clientError', () => (refused = true));
  const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  socket.on('error', () => undefined);
  server.emit('connection', socket);
  for (const part of parts) {
    socket.push(part);
    await new Promise(setImmediate);
  }
  await new Promise(setImmediate);
  socket.destroy();
  await new Promise(setImmediate);
  return { messages, refused };
}

/** A reading of ours has to be a beginning of node's, request for request; we may stop earlier, never see another one. */
async function compare(parts: readonly Buffer[]): Promise<void> {
  const ours = readOurs(parts);
  const nodes = await readNodes(parts);
  // Node stops at what says that its connection closes, and at an Upgrade.
  const last = nodes.messages.length;
  for (const [index, message] of ours.messages.entries()) {
    if (index >= last && closes(ours.messages.slice(0, index))) return;
    assert.deepEqual(message, nodes.messages[index], `request ${index}`);
  }
  if (nodes.refused && ours.messages.length === last && !closes(ours.messages)) {
    // What node refuses we refuse too, as soon as it is whole: never looser.
    const more = readOurs([...parts, Buffer.from('\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n')]);
    assert.ok(ours.refused || more.refused || more.messages.length === last, 'looser than node');
  }
}

function closes(messages: readonly Message[]): boolean {
  return messages.some(
    ({ minor, fields, method }) =>
      minor === 0 ||
      method === 'CONNECT' ||
      fields.some((text) => /^(connection|upgrade|close|proxy-connection)$/i.test(text)),
  );
}

const blank = fc.constantFrom(' ', '', '\t', '  ', ' \t', '\v', '\0', '\xa0');
const lineEnd = fc.constantFrom(
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
const field = fc
  .tuple(name, fc.constantFrom(':', ':', ':', ':', ' :', ''), blank, value, lineEnd)
  .map((parts) => parts.join(''));
const requestLine = fc
  .tuple(
    fc.constantFrom('GET', 'POST', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'get', 'FOO', 'M-SEARCH', '', 'G\0T', 'QUERY'),
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
const body = fc.oneof(
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
const request = fc
  .tuple(fc.constantFrom('', '', '', '', '\r\n', '\n'), requestLine, fc.array(field, { maxLength: 4 }), lineEnd, body)
  .map(([before, line, fields, end, rest]) => `${before}${line}Host: h\r\n${fields.join('')}${end}${rest}`);
/** Good ones, so that there is something behind which a bad one can hide. */
const goodRequest = fc
  .tuple(
    fc.constantFrom('GET', 'POST', 'PATCH'),
    fc.constantFrom(
      '',
      'Content-Length: 3\r\n\r\nabc',
      'Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nT: u\r\n\r\n',
    ),
  )
  .map(([method, rest]) => `${method} /good HTTP/1.1\r\nHost: h\r\n${rest === '' ? '\r\n' : rest}`);
const stream = fc
  .array(fc.oneof(request, goodRequest), { minLength: 1, maxLength: 4 })
  .map((requests) => requests.join(''));

const runs = Number(process.env['HOLDFAST_FUZZ_RUNS'] ?? 2_000);

test('the same bytes give the same requests as node’s own parser sees, or fewer', async () => {
  await fc.assert(
    fc.asyncProperty(stream, (text) => compare([Buffer.from(text, 'latin1')])),
    { numRuns: runs },
  );
});

test('bytes with single bytes changed, too', async () => {
  const changed = fc.tuple(
    fc.array(goodRequest, { minLength: 1, maxLength: 3 }).map((requests) => requests.join('')),
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.constantFrom(0, 9, 10, 11, 13, 32, 34, 44, 48, 58, 59, 61, 92, 127, 128, 255),
        fc.boolean(),
      ),
      { minLength: 1, maxLength: 3 },
    ),
  );
  await fc.assert(
    fc.asyncProperty(changed, async ([text, changes]) => {
      let bytes = Buffer.from(text, 'latin1');
      for (const [at, byte, insert] of changes) {
        const pos = at % bytes.length;
        if (insert) bytes = Buffer.concat([bytes.subarray(0, pos), Buffer.from([byte]), bytes.subarray(pos)]);
        else bytes[pos] = byte;
      }
      await compare([bytes]);
    }),
    { numRuns: runs },
  );
});

test('where the bytes are cut changes nothing', () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
      const bytes = Buffer.from(text, 'latin1');
      const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
      const parts = [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
      const whole = readOurs([bytes]);
      const cut = readOurs(parts);
      assert.deepEqual(cut.messages, whole.messages);
      assert.equal(cut.refused, whole.refused);
    }),
    { numRuns: runs * 2 },
  );
});
