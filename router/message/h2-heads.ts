/**
 * Translates heads between HTTP/2 and the canonical form, which is that of HTTP/1.1: the fields of a stream become bytes for the
 * one strict parser, and a head composed for HTTP/1.1 becomes the fields of a stream. RFC 9113 §8.
 */
import type { OutgoingHttpHeaders } from 'node:http2';
import { mayTrail } from './field-names.ts';
import { FieldParser, fieldStride, type Fault, type Trailers } from './field-parser.ts';

/** Alternating names and values, as in node:http2. */
export type RawFields = readonly string[];

/** Connection-specific fields, which make a message malformed: RFC 9113 §8.2.2. */
const connectionSpecific: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** Characters that would end a line of the canonical form. */
const lineBreaking = /[\0\r\n]/;
/** Methods that need a Content-Length even without a body: RFC 9110 §8.6. */
const bodyMethods: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/** @param open whether a body may follow. @returns the request head as bytes, or why it is refused. */
export function requestBytes(raw: RawFields, open: boolean): Buffer | Fault {
  let method = '';
  let path = '';
  let authority: string | undefined;
  let host: string | undefined;
  let cookies = '';
  let hasLength = false;
  let lines = '';
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] as string;
    const value = raw[index + 1] as string;
    if (lineBreaking.test(value)) return malformed('a line break in a field');
    switch (name) {
      case ':method':
        method = value;
        break;
      case ':path':
        path = value;
        break;
      case ':authority':
        authority = value;
        break;
      case ':scheme':
        break;
      case 'host':
        if (host !== undefined) return malformed('more than one Host field');
        host = value;
        break;
      case 'cookie':
        // RFC 9113 §8.2.3: cookies are split for compression, and joined for HTTP/1.1.
        cookies = cookies === '' ? value : `${cookies}; ${value}`;
        break;
      default:
        if (name.startsWith(':') || connectionSpecific.has(name)) return malformed(`the field ${name}`);
        if (name === 'content-length') hasLength = true;
        lines += `${name}: ${value}\r\n`;
    }
  }
  // RFC 9113 §8.3.1. Two readers could use different ones.
  if (authority !== undefined && host !== undefined && authority !== host) return malformed('two different hosts');
  if (!path.startsWith('/') && !(path === '*' && method === 'OPTIONS')) return malformed('the path');
  const named = authority ?? host;
  if (named === undefined) return malformed('no host');
  if (cookies !== '') lines += `cookie: ${cookies}\r\n`;
  if (open && !hasLength) lines += 'transfer-encoding: chunked\r\n';
  else if (!open && !hasLength && bodyMethods.has(method)) lines += 'content-length: 0\r\n';
  return Buffer.from(`${method} ${path} HTTP/1.1\r\nhost: ${named}\r\n${lines}\r\n`, 'latin1');
}

/** @returns the answer head as bytes, or what is wrong with it. */
export function responseBytes(raw: RawFields): Buffer | string {
  let status = '';
  let lines = '';
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] as string;
    const value = raw[index + 1] as string;
    if (lineBreaking.test(value)) return 'a line break in a field';
    if (name === ':status') status = value;
    else if (name.startsWith(':') || connectionSpecific.has(name)) return `the field ${name}`;
    else lines += `${name}: ${value}\r\n`;
  }
  return Buffer.from(`HTTP/1.1 ${status} \r\n${lines}\r\n`, 'latin1');
}

/** @returns the trailer section, undefined if it has no fields, or why it is refused. */
export function trailersOf(
  raw: RawFields,
  limits: { readonly maxFields: number; readonly maxTrailerBytes: number },
): Trailers | Fault | undefined {
  let lines = '';
  for (let index = 0; index < raw.length; index += 2) {
    const value = raw[index + 1] as string;
    if (lineBreaking.test(value)) return malformed('a line break in a trailer field');
    lines += `${raw[index]}: ${value}\r\n`;
  }
  if (lines === '') return undefined;
  const bytes = Buffer.from(`${lines}\r\n`, 'latin1');
  if (bytes.length > limits.maxTrailerBytes) return { status: 431, what: 'trailer fields over the limit' };
  const fields = new FieldParser(limits.maxFields);
  fields.begin(0);
  if (fields.parse(bytes, bytes.length) === 'done') return { bytes, fields };
  return fields.fault ?? malformed('the trailer fields');
}

export function isFault(value: Trailers | Fault | undefined): value is Fault {
  return value !== undefined && 'what' in value;
}

/** The trailer fields for a stream, without those that delimit or route a message: RFC 9110 §6.5.1. */
export function trailerFields(trailers: Trailers | undefined): OutgoingHttpHeaders {
  const found: string[] = [];
  if (trailers !== undefined) {
    const { bytes, fields } = trailers;
    const { at } = fields;
    for (let index = 0, base = 0; index < fields.count; index += 1, base += fieldStride) {
      if (!mayTrail(at[base + 4] as number)) continue;
      const name = bytes.toString('latin1', at[base], at[base + 1]).toLowerCase();
      if (connectionSpecific.has(name)) continue;
      found.push(name);
      found.push(bytes.toString('latin1', at[base + 2], at[base + 3]));
    }
  }
  return grouped(found);
}

/** Groups the values of each name. */
export function grouped(raw: RawFields): OutgoingHttpHeaders {
  const fields: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] as string;
    const value = raw[index + 1] as string;
    const before = fields[name];
    if (before === undefined) fields[name] = value;
    else if (Array.isArray(before)) before.push(value);
    else fields[name] = [before, value];
  }
  return fields;
}

/**
 * Appends the fields of a head that was composed for HTTP/1.1, without its first line and its connection-specific fields.
 * @param into names and values in turn.
 */
export function cutFields(head: Buffer, into: string[], isRequest: boolean): void {
  const lines = head.toString('latin1').split('\r\n');
  for (let index = 1; index < lines.length; index += 1) {
    const line = lines[index] as string;
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    if (connectionSpecific.has(name)) continue;
    const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '');
    if (isRequest && name === 'host') continue;
    if (name === 'te' && value.toLowerCase() !== 'trailers') continue;
    into.push(name, value);
  }
}

function malformed(what: string): Fault {
  return { status: 400, what };
}
