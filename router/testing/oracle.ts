/** For fuzzing: streams of requests or answers, as node's own parser reads them and as ours does, told in the same form. */
import { METHODS } from 'node:http';
import { BlockList, type Socket } from 'node:net';
import { refusedMethod } from '../call/refusal.ts';
import { ClientFields } from '../message/client-fields.ts';
import { PeerIdentity } from '../message/peer-identity.ts';
import { RequestHeads } from '../message/request-head.ts';
import { BodyReader } from '../message/body-reader.ts';
import { RequestParser } from '../message/request-parser.ts';
import { ResponseParser } from '../message/response-parser.ts';

export interface Message {
  /** Method and target, or status and reason. */
  readonly start: readonly [string, string];
  readonly minor: number;
  /** Names and values in turn. */
  readonly fields: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

/** What a reader saw: whole messages in their order, and whether it then met something that it refuses. */
export interface Reading {
  readonly messages: readonly Message[];
  readonly refused: boolean;
}

/** Bytes as they come, one part after the other. */
type Parts = readonly Buffer[];

const limits = { maxFields: 256, maxTrailerBytes: 8_192 };

// ---- Ours

interface Head {
  readonly start: readonly [string, string];
  readonly minor: number;
  readonly end: number;
}

/** One head after the other, each with its body; the body reader does not see the bytes that it may move. */
function readOurs(
  parts: Parts,
  options: {
    readonly parser: { readonly fields: RequestParser['fields']; begin(pos: number): void };
    readonly parse: (block: Buffer) => 'more' | 'bad' | Head;
    readonly beginBody: (reader: BodyReader) => void;
    readonly endsWhole: boolean;
    readonly chunkBlanks?: boolean;
    /** Gets the offset of each head. */
    readonly starts?: number[];
  },
): Reading {
  const { parser, parse, beginBody, endsWhole, starts, chunkBlanks } = options;
  const messages: Message[] = [];
  const reader = new BodyReader({ ...limits, chunkBlanks: chunkBlanks === true });
  let block: Buffer = Buffer.alloc(0);
  let head: Head | undefined;
  let fields: string[] = [];
  let body = '';
  let offset = 0;
  const take = (): void => {
    if (head === undefined) return;
    const { trailers } = reader;
    messages.push({
      start: head.start,
      minor: head.minor,
      fields,
      body,
      trailers: trailers === undefined ? [] : pairs(trailers.bytes, trailers.fields),
    });
    head = undefined;
  };
  parser.begin(0);
  for (const part of parts) {
    let rest: Buffer = Buffer.from(part);
    if (head === undefined) {
      block = Buffer.concat([block, part]);
      rest = Buffer.alloc(0);
    }
    for (;;) {
      if (head === undefined) {
        const got = parse(block);
        if (got === 'bad') return { messages, refused: true };
        if (got === 'more') break;
        head = got;
        starts?.push(offset);
        offset += got.end;
        fields = pairs(block, parser.fields);
        body = '';
        beginBody(reader);
        rest = Buffer.from(block.subarray(got.end));
      }
      reader.read(rest, 0, rest.length);
      if (reader.fault !== undefined) return { messages, refused: true };
      body += rest.toString('latin1', reader.dataStart, reader.dataEnd);
      offset += reader.next;
      if (!reader.done) break;
      take();
      block = Buffer.from(rest.subarray(reader.next));
      parser.begin(0);
    }
  }
  if (endsWhole && head !== undefined && reader.endsWithConnection) take();
  return { messages, refused: false };
}

const client = new PeerIdentity({ remoteAddress: '127.0.0.1' } as Socket, {
  proxies: new BlockList(),
  fields: new ClientFields({ drop: [], pass: [] }),
});
const heads = new RequestHeads(limits);

/** As a connection reads them. @param starts gets the offset of each head, of which an empty line may be the first. */
export function readOurRequests(parts: Parts, starts: number[] = []): Reading {
  const parser = new RequestParser(limits);
  const parse = (block: Buffer): 'more' | 'bad' | Head => {
    const progress = parser.parse(block, block.length);
    if (progress !== 'done') return progress;
    if (refusedMethod(parser.method) !== undefined) return 'bad';
    try {
      heads.read(parser, block, client);
    } catch {
      return 'bad';
    }
    const { method, minor, end } = parser;
    return { start: [method, block.toString('latin1', parser.targetStart, parser.targetEnd)], minor, end };
  };
  const beginBody = (reader: BodyReader): void => {
    const { chunked, contentLength } = parser.framing;
    if (chunked) reader.beginChunked();
    else reader.beginLength(Math.max(0, contentLength));
  };
  return readOurs(parts, { parser, parse, beginBody, endsWhole: false, starts });
}

/**
 * As an exchange reads them, but one behind the other.
 * @param heads which of the final answers are to HEAD.
 * @param tolerant as the router reads them; otherwise without what it takes and node refuses: equal lengths, blanks in chunk lines.
 */
export function readOurAnswers(parts: Parts, heads: readonly boolean[], tolerant = true): Reading {
  const parser = new ResponseParser(limits, { repeatedLengths: tolerant });
  let finals = 0;
  const parse = (block: Buffer): 'more' | 'bad' | Head => {
    const progress = parser.parse(block, block.length);
    if (progress !== 'done') return progress;
    if (parser.status === 101) return 'bad';
    const { status, minor, end } = parser;
    return { start: [String(status), block.toString('latin1', parser.reasonStart, parser.reasonEnd)], minor, end };
  };
  const beginBody = (reader: BodyReader): void => {
    const { framing, status } = parser;
    if (status < 200) return reader.beginNone();
    const toHead = heads[finals++] ?? false;
    if (toHead || status === 204 || status === 304) reader.beginNone();
    else if (framing.chunked) reader.beginChunked();
    else if (framing.contentLength >= 0) reader.beginLength(framing.contentLength);
    else reader.beginClose();
  };
  return readOurs(parts, { parser, parse, beginBody, endsWhole: true, chunkBlanks: tolerant });
}

function pairs(bytes: Buffer, fields: { readonly at: readonly number[]; readonly count: number }): string[] {
  const list: string[] = [];
  for (let base = 0; base < fields.count * 5; base += 5) {
    list.push(bytes.toString('latin1', fields.at[base], fields.at[base + 1]));
    list.push(bytes.toString('latin1', fields.at[base + 2], fields.at[base + 3]));
  }
  return list;
}

// ---- Node's

interface NodeParser {
  [event: number]: unknown;
  initialize(type: number, resource: object, maxHeaderBytes: number, lenient: number): void;
  execute(bytes: Buffer): number | Error;
  finish(): Error | undefined;
  close(): void;
}

/** What node's server and client are made of: no other way leads to it without a socket and a turn of the loop for each case. */
const { HTTPParser } = process.getBuiltinModule('_http_common' as 'http') as unknown as {
  HTTPParser: (new () => NodeParser) & Record<string, number>;
};
const on = (name: string): number => HTTPParser[name] as number;
/** By the numbers that it tells them by. */
const methods = new Map(METHODS.map((method) => [numberOf(method), method]));

function numberOf(method: string): number {
  const parser = new HTTPParser();
  let found = -1;
  parser.initialize(on('REQUEST'), {}, 65_536, on('kLenientNone'));
  parser[on('kOnHeadersComplete')] = (_major: number, _minor: number, _fields: unknown, number: number) => {
    found = number;
    return 0;
  };
  parser.execute(Buffer.from(`${method} /x HTTP/1.1\r\nHost: h\r\n\r\n`));
  parser.close();
  return found;
}

/** Whether Node's parser knows the method; it refuses all others. */
export function nodeKnows(method: string): boolean {
  return METHODS.includes(method);
}

export function readNodesRequests(parts: Parts): Reading {
  return readNodes('REQUEST', parts, () => false);
}

export function readNodesAnswers(parts: Parts, heads: readonly boolean[]): Reading {
  let finals = 0;
  return readNodes('RESPONSE', parts, (status) => status < 200 || (heads[finals++] ?? false));
}

function readNodes(kind: 'REQUEST' | 'RESPONSE', parts: Parts, bodiless: (status: number) => boolean): Reading {
  const messages: Message[] = [];
  const parser = new HTTPParser();
  let begun: Pick<Message, 'start' | 'minor' | 'fields'> | undefined;
  let flushed: string[] = [];
  let flushedTarget = '';
  let body = '';
  let over = false;
  parser.initialize(on(kind), {}, 65_536, on('kLenientNone'));
  parser[on('kOnHeaders')] = (fields: string[], target: string) => {
    flushed.push(...fields);
    flushedTarget = target;
  };
  // Node's parser calls it with eight arguments.
  // oxlint-disable-next-line max-params
  parser[on('kOnHeadersComplete')] = (
    _major: number,
    minor: number,
    fields: string[] | undefined,
    method: number | undefined,
    target: string | undefined,
    status: number | undefined,
    reason: string | undefined,
    upgrade: boolean,
  ): number => {
    const start: [string, string] =
      kind === 'REQUEST' ? [methods.get(method ?? -1) ?? '', target ?? flushedTarget] : [String(status), reason ?? ''];
    begun = { start, minor, fields: [...flushed, ...(fields ?? [])] };
    flushed = [];
    body = '';
    // From there on it is another protocol.
    over ||= upgrade;
    return bodiless(status ?? 0) ? 1 : 0;
  };
  parser[on('kOnBody')] = (bytes: Buffer) => void (body += bytes.toString('latin1'));
  parser[on('kOnMessageComplete')] = () => {
    if (begun !== undefined) messages.push({ ...begun, body, trailers: flushed });
    begun = undefined;
    flushed = [];
  };
  let refused = false;
  for (const part of parts) {
    if (over) break;
    if (typeof parser.execute(part) !== 'number') refused = true;
    if (refused) break;
  }
  if (!refused && !over) refused = parser.finish() !== undefined && kind === 'RESPONSE';
  parser.close();
  return { messages, refused };
}
