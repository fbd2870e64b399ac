/** Recognises the fields that the router itself acts on, by their bytes. */
import { tokenByte } from './bytes.ts';
import { identityFields } from './client-fields.ts';

/** What a field means to the router. The kinds are numbers because parsers keep them among offsets. */
export const Field = {
  /** Forwarded as it is. */
  other: 0,
  host: 1,
  contentLength: 2,
  transferEncoding: 3,
  connection: 4,
  /** Hop-by-hop: RFC 9110 §7.6.1, and what older proxies treat like that. */
  hop: 5,
  te: 6,
  upgrade: 7,
  trailer: 8,
  expect: 9,
  /** Describes the client, which only trusted proxies may do. */
  forwarding: 10,
  /** A forwarding field spelled with `_`, which CGI-like apps read as `-`. */
  lookalike: 11,
  /** Says who calls, which only trusted proxies may do (client-fields.ts). */
  identity: 12,
  /** Trace Context: https://www.w3.org/TR/trace-context/ */
  trace: 13,
  date: 14,
  // The fields of answers by which browsers go on: they may get the prefix of the app's route (mount.ts).
  location: 15,
  refresh: 16,
  cookie: 17,
} as const;

const known: Readonly<Record<string, number>> = {
  host: Field.host,
  'content-length': Field.contentLength,
  'transfer-encoding': Field.transferEncoding,
  connection: Field.connection,
  'keep-alive': Field.hop,
  'proxy-connection': Field.hop,
  'proxy-authenticate': Field.hop,
  'proxy-authorization': Field.hop,
  te: Field.te,
  upgrade: Field.upgrade,
  trailer: Field.trailer,
  expect: Field.expect,
  forwarded: Field.forwarding,
  'x-forwarded-for': Field.forwarding,
  'x-forwarded-host': Field.forwarding,
  'x-forwarded-port': Field.forwarding,
  'x-forwarded-prefix': Field.forwarding,
  'x-forwarded-proto': Field.forwarding,
  'x-forwarded-server': Field.forwarding,
  'x-forwarded-ssl': Field.forwarding,
  'x-real-ip': Field.forwarding,
  'x-request-id': Field.forwarding,
  traceparent: Field.trace,
  tracestate: Field.trace,
  date: Field.date,
  location: Field.location,
  'content-location': Field.location,
  refresh: Field.refresh,
  'set-cookie': Field.cookie,
};

/** Whether a field of this kind in a trailer section is forwarded: those that delimit or route a message are not, RFC 9110 §6.5.1. */
export function mayTrail(kind: number): boolean {
  return kind === Field.other || kind >= Field.date;
}

interface Known {
  readonly bytes: Uint8Array;
  readonly kind: number;
}

const byLength: (Known[] | undefined)[] = Array.from({ length: 24 });
for (const [name, kind] of Object.entries(known)) {
  (byLength[name.length] ??= []).push({ bytes: Uint8Array.from(Buffer.from(name)), kind });
}

interface Family {
  readonly bytes: Uint8Array;
  /** Whether longer names belong to it. */
  readonly isPrefix: boolean;
}

/** By the first three bytes of the name, so that most names are compared with none. */
const families: (Family[] | undefined)[] = Array.from({ length: 1_024 });

function bucketOf(first: number, second: number, third: number): number {
  return ((first << 5) ^ (second << 3) ^ third) & 1_023;
}

for (const pattern of identityFields) {
  const isPrefix = pattern.endsWith('*');
  const bytes = Uint8Array.from(Buffer.from(isPrefix ? pattern.slice(0, -1) : pattern));
  const [first = 0, second = 0, third = 0] = bytes;
  (families[bucketOf(first, second, third)] ??= []).push({ bytes, isPrefix });
}

/** In lower case, with `-` for `_`, which CGI-like apps read as `-`. */
function plain(byte: number | undefined): number {
  const lower = tokenByte[byte as number] as number;
  return lower === 0x5f ? 0x2d : lower;
}

/** @returns the kind of the field whose name, a token, is in this range. */
export function fieldKind(bytes: Uint8Array, start: number, end: number): number {
  const kind = knownKind(bytes, start, end);
  if (kind !== Field.other) return kind;
  const length = end - start;
  // The shortest family is `cf-`, whose names are longer.
  if (length < 4) return Field.other;
  const candidates = families[bucketOf(plain(bytes[start]), plain(bytes[start + 1]), plain(bytes[start + 2]))];
  if (candidates === undefined) return Field.other;
  for (let index = 0; index < candidates.length; index += 1) {
    const { bytes: name, isPrefix } = candidates[index] as Family;
    if (isPrefix ? length <= name.length : length !== name.length) continue;
    let at = 0;
    while (at < name.length && plain(bytes[start + at]) === name[at]) at += 1;
    if (at === name.length) return Field.identity;
  }
  return Field.other;
}

function knownKind(bytes: Uint8Array, start: number, end: number): number {
  const candidates = byLength[end - start];
  if (candidates === undefined) return Field.other;
  for (let index = 0; index < candidates.length; index += 1) {
    const { bytes: name, kind } = candidates[index] as Known;
    let underscores = false;
    let at = 0;
    for (; at < name.length; at += 1) {
      let byte = tokenByte[bytes[start + at] as number] as number;
      if (byte === 0x5f) {
        byte = 0x2d;
        underscores = true;
      }
      if (byte !== name[at]) break;
    }
    if (at < name.length) continue;
    if (!underscores) return kind;
    // `Content_Length` frames nothing here but may frame the body for such an app, so it is not forwarded.
    if (kind === Field.contentLength || kind === Field.transferEncoding) return Field.hop;
    return kind === Field.forwarding ? Field.lookalike : Field.other;
  }
  return Field.other;
}
