/** Writes the head of an app's answer for the client: without hop-by-hop fields, with the fields of the client's connection, the rest as it came. */
import { Field, mayTrail } from './field-names.ts';
import { fieldStride, type FieldParser, type Trailers } from './field-parser.ts';
import type { HeadWriter } from './head-writer.ts';
import { mountedField, type Mounted } from './mount.ts';
import type { ResponseParser } from './response-parser.ts';

export interface AnswerFraming {
  /** The client gets the body in chunks. */
  readonly chunked: boolean;
  /** Field lines that say whether the connection stays open; `''` for an interim answer. */
  readonly connection: string;
  /** Value of Server-Timing; `''`: none. */
  readonly timing: string;
  /** Value of Date for an answer without one (RFC 9110 §6.6.1); `''`: none. */
  readonly date: string;
  /** The answer is a 101: Connection and Upgrade stay. */
  readonly switching: boolean;
  /** Where the app is mounted, if its paths need a prefix. */
  readonly mounted: Mounted | undefined;
}

/** @param parser has parsed the head in `bytes`. */
export function writeResponseHead(
  writer: HeadWriter,
  bytes: Buffer,
  parser: ResponseParser,
  framing: AnswerFraming,
): void {
  const { fields, status } = parser;
  const { named, contentLength, lengthRepeated } = parser.framing;
  const { at, count } = fields;
  writer.latin1('HTTP/1.1 ');
  writer.latin1(String(status));
  writer.latin1(' ');
  writer.range(bytes, parser.reasonStart, parser.reasonEnd);
  writer.latin1('\r\n');
  let dated = false;
  let mounted: string | undefined;
  let run = -1;
  for (let index = 0, base = 0; index < count; index += 1, base += fieldStride) {
    const kind = at[base + 4] as number;
    const lineStart = at[base] as number;
    let keep: boolean;
    switch (kind) {
      case Field.transferEncoding:
      case Field.hop:
      case Field.te:
        keep = false;
        break;
      case Field.connection:
      case Field.upgrade:
        keep = framing.switching;
        break;
      case Field.contentLength:
        // RFC 9110 §8.6 forbids it in 1xx and 204.
        keep = status >= 200 && status !== 204 && !lengthRepeated;
        break;
      case Field.trailer:
        keep = framing.chunked;
        break;
      case Field.date:
        dated = true;
        keep = true;
        break;
      case Field.location:
      case Field.refresh:
      case Field.cookie:
        mounted = framing.mounted && mountedField(kind, fields.valueAt(bytes, base), framing.mounted.mount());
        keep = true;
        break;
      default:
        keep = true;
    }
    if (keep && named !== undefined && kind !== Field.contentLength && !framing.switching) {
      keep = !named.has(bytes.toString('latin1', lineStart, at[base + 1]).toLowerCase());
    }
    if (keep && mounted === undefined) {
      if (run < 0) run = lineStart;
      continue;
    }
    if (run >= 0) writer.range(bytes, run, lineStart);
    run = -1;
    if (mounted === undefined) continue;
    if (keep) {
      writer.range(bytes, lineStart, at[base + 1] as number);
      writer.latin1(`: ${mounted}\r\n`);
    }
    mounted = undefined;
  }
  if (run >= 0) writer.range(bytes, run, fields.linesEnd);
  if (lengthRepeated && status >= 200 && status !== 204) writer.latin1(`Content-Length: ${contentLength}\r\n`);
  if (!dated && framing.date !== '') {
    writer.latin1('Date: ');
    writer.latin1(framing.date);
    writer.latin1('\r\n');
  }
  if (framing.timing !== '') writer.latin1(`Server-Timing: ${framing.timing}\r\n`);
  if (framing.chunked) writer.latin1('Transfer-Encoding: chunked\r\n');
  writer.latin1(framing.connection);
  writer.latin1('\r\n');
}

/** Seconds for which the app keeps idle connections, from its Keep-Alive field; Infinity without one. */
export function keepAliveSeconds(bytes: Buffer, fields: FieldParser): number {
  const { at, count } = fields;
  for (let index = 0, base = 0; index < count; index += 1, base += fieldStride) {
    // The length distinguishes `Keep-Alive` from other fields of its kind.
    if (at[base + 4] !== Field.hop || (at[base + 1] as number) - (at[base] as number) !== 10) continue;
    const seconds = /timeout=(\d{1,6})/i.exec(bytes.toString('latin1', at[base + 2], at[base + 3]))?.[1];
    if (seconds !== undefined) return Number(seconds);
  }
  return Infinity;
}

/** Writes the end of a chunked body, without trailer fields that delimit or route a message: RFC 9110 §6.5.1. */
export function writeLastChunk(writer: HeadWriter, trailers: Trailers | undefined): void {
  writer.latin1('0\r\n');
  if (trailers !== undefined) {
    const { bytes, fields } = trailers;
    for (let index = 0, base = 0; index < fields.count; index += 1, base += fieldStride) {
      if (!mayTrail(fields.at[base + 4] as number)) continue;
      writer.range(bytes, fields.at[base] as number, fields.lineEndOf(index));
    }
  }
  writer.latin1('\r\n');
}
