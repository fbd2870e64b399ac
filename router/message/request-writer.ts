/**
 * Writes a request head for the app: without hop-by-hop fields (RFC 9110 §7.6.1), with what the router knows about the client,
 * and everything else as it came, in the same order and case.
 */
import { forwardedFields } from './forwarded.ts';
import { Field } from './field-names.ts';
import { fieldStride, type FieldParser } from './field-parser.ts';
import type { HeadWriter } from './head-writer.ts';
import type { RequestHead } from './request-head.ts';

export interface Destination {
  /** The request target for the app, without the prefix of the route. */
  readonly path: string;
  /** The prefix that this router and proxies before it have stripped; `''`: none. */
  readonly prefix: string;
}

export function writeRequestHead(writer: HeadWriter, head: RequestHead, destination: Destination): void {
  const { bytes, peer } = head;
  const { fields, framing } = head.parsed();
  const { at, count } = fields;
  const { named } = framing;
  const dropsMore = peer.fields.dropsMore && !peer.trusted;
  writer.latin1(head.method);
  writer.latin1(' ');
  writer.latin1(head.asterisk ? '*' : destination.path);
  writer.latin1(' HTTP/1.1\r\n');
  let hasHost = false;
  let traced = false;
  let te = false;
  let forwarding: Map<string, string> | undefined;
  // Fields that stay are copied in runs; this is the start of the current one, or -1.
  let run = -1;
  for (let index = 0, base = 0; index < count; index += 1, base += fieldStride) {
    const lineStart = at[base] as number;
    const kind = at[base + 4] as number;
    let keep: boolean;
    switch (kind) {
      case Field.other:
        keep = !dropsMore || !peer.fields.drops(nameAt(fields, bytes, base), false);
        break;
      case Field.identity:
        keep = peer.trusted
          ? !isNeverForwarded(fields, bytes, base)
          : !peer.fields.drops(nameAt(fields, bytes, base), true);
        break;
      case Field.date:
      case Field.location:
      case Field.refresh:
      case Field.cookie:
      case Field.trailer:
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
        if (peer.trusted) collect((forwarding ??= new Map()), fields, bytes, base);
        break;
      case Field.te:
        keep = false;
        // The only TE value that is about the answer of the app rather than about this connection.
        te ||= /(^|,)\s*trailers\s*(;|,|$)/i.test(fields.valueAt(bytes, base));
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
  if (forwarding === undefined) writer.range(peer.forwarded(head.host), 0, peer.forwarded(head.host).length);
  else writer.latin1(forwardedFields(peer, head.host, forwarding));
  writer.latin1('X-Request-Id: ');
  const { bytes: random, at: idAt } = head.ids;
  if (head.givenId === undefined) writer.uuid(random, idAt);
  else writer.latin1(head.givenId);
  if (!traced) {
    // The flag says sampled, since an app whose sampler follows its parent would otherwise record nothing.
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
  // TE is hop-by-hop and must be listed: RFC 9110 §10.1.4.
  else if (te) writer.latin1('Connection: TE\r\n');
  writer.latin1('\r\n');
}

const traceparentLength = 11;

function nameAt({ at }: FieldParser, bytes: Buffer, base: number): string {
  return bytes.toString('latin1', at[base], at[base + 1]);
}

/** `Proxy` is no field of any protocol, and a name with `_` is one that a proxy would not write. */
function isNeverForwarded(fields: FieldParser, bytes: Buffer, base: number): boolean {
  return fields.isNamed(bytes, base, 'proxy') || nameAt(fields, bytes, base).includes('_');
}

function collect(forwarding: Map<string, string>, fields: FieldParser, bytes: Buffer, base: number): void {
  const name = nameAt(fields, bytes, base).toLowerCase();
  const value = fields.valueAt(bytes, base);
  const before = forwarding.get(name);
  forwarding.set(name, before === undefined ? value : `${before}, ${value}`);
}
