/**
 * The head of a call: what the router needs to know of it, and how it goes on to the app. Hop-by-hop fields out (RFC 9110
 * §7.6.1), what the router knows of the client in, everything else as it came, in order and in its own case.
 */
import { AppError } from '../../shared/errors.ts';
import type { Client } from './peer-identity.ts';
import { isHost } from './peer-identity.ts';
import { forwardedFields, isTraceparent, outerPrefixOf } from './forwarded.ts';
import { Field } from './field-names.ts';
import { fieldStride } from './field-parser.ts';
import type { HeadWriter } from './head-writer.ts';
import type { RequestParser } from './request-parser.ts';
import { uuidOf, type CallIds, type Ids } from './ids.ts';
import { pathFault } from './path.ts';

/** Of a call, until it has its answer. The fields themselves stay in `bytes` and are looked at again when it is sent. */
export interface RequestHead {
  readonly bytes: Buffer;
  readonly start: number;
  readonly method: string;
  /** Of HTTP/1.x. */
  readonly minor: number;
  /** As sent, or of the absolute-form target. */
  readonly host: string;
  /** As routes name it. */
  readonly routeHost: string;
  /** Path and query, raw; `/` for `OPTIONS *`. */
  readonly path: string;
  /** `OPTIONS *`, RFC 9112 §3.2.4. */
  readonly asterisk: boolean;
  /** The host is not that of the Host field. */
  readonly hostReplaced: boolean;
  /** The protocol it asks for. */
  readonly upgrade: string | undefined;
  readonly expectsContinue: boolean;
  /** The client wants the connection to stay open. */
  readonly keepAlive: boolean;
  /** 0 where there is none. */
  readonly contentLength: number;
  readonly chunked: boolean;
  readonly ids: CallIds;
  /** Instead of the one in `ids`: a trusted proxy before us gave it. */
  readonly givenId: string | undefined;
  /** A trusted proxy before us has begun its trace. */
  readonly traced: boolean;
  /** Prefix that a trusted proxy before us has taken off. */
  readonly outerPrefix: string;
}

/**
 * @param parser that has just parsed the head, in `bytes` from `start`.
 * @throws AppError request_invalid for a request that two servers could understand differently.
 */
export function readRequestHead(
  parser: RequestParser,
  bytes: Buffer,
  start: number,
  client: Client,
  ids: Ids,
): RequestHead {
  const { fields, framing, minor, method } = parser;
  const { at, count } = fields;
  let hostField: string | undefined;
  let expectsContinue = false;
  let upgrade: string | undefined;
  let requestId: string | undefined;
  let outerPrefix: string | undefined;
  let traceparent: string | undefined;
  for (let index = 0, base = 0; index < count; index += 1, base += fieldStride) {
    switch (at[base + 4] as number) {
      case Field.host:
        if (hostField !== undefined) throw invalid('more than one Host field');
        hostField = client.hostOf(bytes, at[base + 2] as number, at[base + 3] as number);
        break;
      case Field.expect:
        // Answered by the router when the call goes to the app; RFC 9110 §10.1.1.
        if (bytes.toString('latin1', at[base + 2], at[base + 3]).toLowerCase() !== '100-continue') {
          throw invalid('an unknown expectation');
        }
        expectsContinue = minor > 0;
        break;
      case Field.upgrade: {
        const value = bytes.toString('latin1', at[base + 2], at[base + 3]);
        upgrade = upgrade === undefined ? value : `${upgrade}, ${value}`;
        break;
      }
      case Field.forwarding:
        if (!client.trusted) break;
        // Of two that are different none is the one.
        if (isNamed(bytes, at, base, 'x-request-id')) requestId = once(requestId, valueOf(bytes, at, base));
        else if (isNamed(bytes, at, base, 'x-forwarded-prefix'))
          outerPrefix = once(outerPrefix, valueOf(bytes, at, base));
        break;
      case Field.trace:
        if (client.trusted && isNamed(bytes, at, base, 'traceparent')) {
          traceparent = traceparent === undefined ? valueOf(bytes, at, base) : '';
        }
        break;
      default:
        break;
    }
  }
  // RFC 9112 §3.2.
  if (hostField === undefined && minor > 0) throw invalid('no Host field');
  const rawTarget = bytes.toString('latin1', parser.targetStart, parser.targetEnd);
  let host = hostField ?? '';
  let path = rawTarget;
  let asterisk = false;
  let hostReplaced = false;
  if (rawTarget.charCodeAt(0) !== 0x2f) {
    // The Host that is replaced has to be one too.
    client.routeHost(host);
    const target = otherTarget(rawTarget, method);
    asterisk = target.asterisk;
    path = target.path;
    hostReplaced = target.host !== undefined;
    host = target.host ?? host;
  }
  const routeHost = client.routeHost(host);
  const fault = pathFault(path);
  if (fault !== undefined) throw invalid(fault);
  const contentLength = Math.max(0, framing.contentLength);
  return {
    bytes,
    start,
    method,
    minor,
    host,
    routeHost,
    path,
    asterisk,
    hostReplaced,
    upgrade: wantsUpgrade(parser, upgrade) ? upgrade : undefined,
    expectsContinue: expectsContinue && (framing.chunked || contentLength > 0),
    keepAlive: minor > 0 ? !framing.close : framing.keepAlive && !framing.close,
    contentLength,
    chunked: framing.chunked,
    ids: { bytes: ids.pool, at: ids.next() },
    givenId: requestId !== undefined && isId(requestId) ? requestId : undefined,
    traced: traceparent !== undefined && isTraceparent(traceparent),
    outerPrefix: outerPrefix === undefined ? '' : outerPrefixOf(outerPrefix),
  };
}

export function hasBody({ chunked, contentLength }: RequestHead): boolean {
  return chunked || contentLength > 0;
}

export function requestIdOf({ givenId, ids }: RequestHead): string {
  return givenId ?? uuidOf(ids);
}

/**
 * Whether to treat a request as an upgrade. HTTP/2 over cleartext (`h2c`) is not offered, and a request with a body is
 * forwarded without its Upgrade: the server may ignore the field, RFC 9110 §7.8.
 */
function wantsUpgrade({ framing, minor }: RequestParser, upgrade: string | undefined): boolean {
  if (upgrade === undefined || upgrade === '' || !framing.upgrade || minor === 0) return false;
  if (framing.chunked || framing.contentLength > 0) return false;
  return !/(^|,)\s*h2c\s*(,|$)/i.test(upgrade);
}

/** Absolute-form, whose authority stands instead of Host (RFC 9112 §3.2.2), or the asterisk. */
function otherTarget(
  target: string,
  method: string,
): { readonly host: string | undefined; readonly path: string; readonly asterisk: boolean } {
  if (target === '*' && method === 'OPTIONS') return { host: undefined, path: '/', asterisk: true };
  const absolute = /^https?:\/\/([^/?#@]+)([/?][^#]*)?$/i.exec(target);
  const authority = absolute?.[1];
  if (authority === undefined || !isHost(authority)) throw invalid('the request target has no path');
  const rest = absolute?.[2] ?? '';
  // RFC 9112 §3.2.4: without path and query, OPTIONS is of the whole server.
  if (rest === '' && method === 'OPTIONS') return { host: authority, path: '/', asterisk: true };
  return { host: authority, path: rest.startsWith('/') ? rest : `/${rest}`, asterisk: false };
}

function isId(text: string): boolean {
  return /^[\x21-\x7e]{1,128}$/.test(text);
}

function valueOf(bytes: Buffer, at: readonly number[], base: number): string {
  return bytes.toString('latin1', at[base + 2], at[base + 3]);
}

/** `''` where there were others. */
function once(before: string | undefined, value: string): string {
  return before === undefined || before === value ? value : '';
}

function isNamed(bytes: Buffer, at: readonly number[], base: number, name: string): boolean {
  const start = at[base] as number;
  const end = at[base + 1] as number;
  return end - start === name.length && bytes.toString('latin1', start, end).toLowerCase() === name;
}

/** The head in the parser that all connections share, where it is or is brought again. */
export function parsedAgain(parser: RequestParser, head: RequestHead): RequestParser {
  if (parser.parsed === head) return parser;
  parser.begin(head.start);
  parser.parse(head.bytes, head.bytes.length);
  parser.parsed = head;
  return parser;
}

export interface Destination {
  /** The target as the app gets it: without the prefix of the route. */
  readonly path: string;
  /** Prefix that was taken off, here and before; `''`: none. */
  readonly prefix: string;
}

/** @param parser that has parsed this head. */
export function writeRequestHead(
  writer: HeadWriter,
  head: RequestHead,
  parser: RequestParser,
  client: Client,
  destination: Destination,
): void {
  const { bytes } = head;
  const { fields, framing } = parser;
  const { at, count } = fields;
  const { named } = framing;
  writer.latin1(head.method);
  writer.latin1(' ');
  writer.latin1(head.asterisk ? '*' : destination.path);
  writer.latin1(' HTTP/1.1\r\n');
  let hasHost = false;
  let traced = false;
  let te = false;
  let told: Map<string, string> | undefined;
  // Fields that stay go in runs, as they came.
  let run = -1;
  for (let index = 0, base = 0; index < count; index += 1, base += fieldStride) {
    const lineStart = at[base] as number;
    const kind = at[base + 4] as number;
    let keep: boolean;
    switch (kind) {
      case Field.other:
      case Field.date:
      case Field.trailer:
        keep = true;
        break;
      case Field.contentLength:
        keep = true;
        break;
      case Field.host:
        hasHost = true;
        keep = !head.hostReplaced;
        break;
      case Field.trace:
        keep = head.traced;
        traced ||= keep && at[base + 1] === lineStart + traceparentLength;
        break;
      case Field.forwarding:
        keep = false;
        if (client.trusted) collect((told ??= new Map()), bytes, at, base);
        break;
      case Field.te:
        keep = false;
        // The only one that says something about the app's answer rather than about this connection.
        te ||= /(^|,)\s*trailers\s*(;|,|$)/i.test(bytes.toString('latin1', at[base + 2], at[base + 3]));
        break;
      default:
        keep = false;
    }
    if (keep && named !== undefined && kind !== Field.host && kind !== Field.contentLength) {
      keep = !named.has(bytes.toString('latin1', lineStart, at[base + 1]).toLowerCase());
      if (!keep && kind === Field.trace) traced = false;
    }
    if (keep) {
      if (run < 0) run = lineStart;
      continue;
    }
    if (run >= 0) writer.range(bytes, run, lineStart);
    run = -1;
    if (kind === Field.host) writer.latin1(`Host: ${head.host}\r\n`);
    else if (kind === Field.te && te) writer.latin1('TE: trailers\r\n');
  }
  if (run >= 0) writer.range(bytes, run, fields.linesEnd);
  if (!hasHost) writer.latin1(`Host: ${head.host}\r\n`);
  if (told === undefined) writer.range(client.forwarded(head.host), 0, client.forwarded(head.host).length);
  else writer.latin1(forwardedFields(client, head.host, told));
  writer.latin1('X-Request-Id: ');
  const { bytes: random, at: idAt } = head.ids;
  if (head.givenId === undefined) writer.uuid(random, idAt);
  else writer.latin1(head.givenId);
  if (!traced) {
    // Sampled: an app whose sampler follows its caller would otherwise record nothing.
    writer.latin1('\r\ntraceparent: 00-');
    writer.hex(random, idAt, idAt + 16);
    writer.latin1('-');
    writer.hex(random, idAt + 16, idAt + 24);
    writer.latin1('-01');
  }
  writer.latin1('\r\n');
  if (destination.prefix !== '') {
    writer.latin1('X-Forwarded-Prefix: ');
    writer.latin1(destination.prefix);
    writer.latin1('\r\n');
  }
  if (head.chunked) writer.latin1('Transfer-Encoding: chunked\r\n');
  if (head.upgrade !== undefined) writer.latin1(`Connection: Upgrade\r\nUpgrade: ${head.upgrade}\r\n`);
  // RFC 9110 §10.1.4.
  else if (te) writer.latin1('Connection: TE\r\n');
  writer.latin1('\r\n');
}

const traceparentLength = 11;

function collect(told: Map<string, string>, bytes: Buffer, at: readonly number[], base: number): void {
  const name = bytes.toString('latin1', at[base], at[base + 1]).toLowerCase();
  const value = valueOf(bytes, at, base);
  const before = told.get(name);
  told.set(name, before === undefined ? value : `${before}, ${value}`);
}

function invalid(what: string): AppError {
  return new AppError('request_invalid', `The request is refused: ${what}.`);
}
