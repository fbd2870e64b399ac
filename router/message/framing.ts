/** How the body of a message is delimited, RFC 9112 §6.3. What two readers could understand differently is a fault. */
import { comma, space, tab, tokenByte } from './bytes.ts';
import { Field } from './field-names.ts';
import { quoted } from './quoted.ts';
import { fieldStride, type FieldParser } from './field-parser.ts';

/** What Content-Length, Transfer-Encoding and Connection say together. Filled by one `read` after the other. */
export class Framing {
  /** -1 without Content-Length. */
  contentLength = -1;
  /** The length came more than once, always the same, and is to be passed on once: RFC 9110 §8.6. */
  lengthRepeated = false;
  chunked = false;
  /** Connection lists `close`, and `keep-alive`. */
  close = false;
  keepAlive = false;
  /** Connection lists `upgrade`. */
  upgrade = false;
  /** Lower-case names of the fields that Connection lists otherwise. */
  named: Set<string> | undefined;
  fault: string | undefined;
  readonly #repeats: boolean;

  /** @param repeats whether equal lengths count as one, as they may in answers. */
  constructor(repeats: boolean) {
    this.#repeats = repeats;
  }

  read(bytes: Buffer, fields: FieldParser): void {
    this.contentLength = -1;
    this.lengthRepeated = false;
    this.chunked = false;
    this.close = false;
    this.keepAlive = false;
    this.upgrade = false;
    this.named = undefined;
    this.fault = undefined;
    const { at, count } = fields;
    for (let index = 0, base = 0; index < count; index += 1, base += fieldStride) {
      switch (at[base + 4] as number) {
        case Field.contentLength:
          this.#length(bytes, at[base + 2] as number, at[base + 3] as number);
          break;
        case Field.transferEncoding:
          if (
            this.chunked ||
            tabBehind(bytes, at[base + 3] as number) ||
            !equalsToken(bytes, at[base + 2] as number, at[base + 3] as number, chunkedName)
          ) {
            const value = quoted(bytes, at[base + 2] as number, at[base + 3] as number);
            this.fault ??= `a Transfer-Encoding other than chunked (${value})`;
          }
          this.chunked = true;
          break;
        case Field.connection:
          this.#connection(bytes, at[base + 2] as number, at[base + 3] as number);
          break;
        default:
          break;
      }
    }
    if (this.chunked && this.contentLength >= 0) this.fault ??= 'both Transfer-Encoding and Content-Length';
  }

  /** Accepts 1*DIGIT without a leading zero, which some readers take for octal; in answers several times, if all are equal. */
  #length(bytes: Buffer, start: number, end: number): void {
    const digits = end - start;
    let value = 0;
    for (let pos = start; pos < end; pos += 1) {
      const digit = (bytes[pos] as number) - 0x30;
      if (digit < 0 || digit > 9) value = Number.NaN;
      value = value * 10 + digit;
    }
    if (Number.isNaN(value) && this.#repeats && bytes.subarray(start, end).includes(comma)) {
      this.#lengths(bytes, start, end);
      return;
    }
    const isOctal = digits > 1 && bytes[start] === 0x30;
    if (digits === 0 || digits > maxLengthDigits || Number.isNaN(value) || isOctal) {
      this.fault ??= `an invalid Content-Length (${quoted(bytes, start, end)})`;
      value = 0;
    } else if (this.contentLength >= 0) {
      if (!this.#repeats) this.fault ??= 'more than one Content-Length';
      else if (value !== this.contentLength) this.fault ??= 'two different Content-Lengths';
      this.lengthRepeated = true;
    }
    this.contentLength = value;
  }

  /** Reads a list, which is how a proxy may join several fields of one name. */
  #lengths(bytes: Buffer, start: number, end: number): void {
    for (let pos = start; pos <= end;) {
      const found = bytes.indexOf(comma, pos);
      const stop = found < 0 || found > end ? end : found;
      let first = pos;
      let last = stop;
      while (first < last && isBlank(bytes[first])) first += 1;
      while (last > first && isBlank(bytes[last - 1])) last -= 1;
      this.#length(bytes, first, last);
      pos = stop + 1;
    }
  }

  #connection(bytes: Buffer, start: number, end: number): void {
    let pos = start;
    while (pos < end) {
      let stop = pos;
      while (stop < end && bytes[stop] !== comma) stop += 1;
      let first = pos;
      let last = stop;
      while (first < last && isBlank(bytes[first])) first += 1;
      while (last > first && isBlank(bytes[last - 1])) last -= 1;
      if (equalsToken(bytes, first, last, closeName)) this.close = true;
      else if (equalsToken(bytes, first, last, keepAliveName)) this.keepAlive = true;
      else if (equalsToken(bytes, first, last, upgradeName)) this.upgrade = true;
      else if (last > first) (this.named ??= new Set()).add(bytes.toString('latin1', first, last).toLowerCase());
      pos = stop + 1;
    }
  }
}

/** Some readers trim a tab behind the coding; to others, Node's parser among them, it is part of the coding. */
function tabBehind(bytes: Uint8Array, end: number): boolean {
  let pos = end;
  while (bytes[pos] === space) pos += 1;
  return bytes[pos] === tab;
}

function isBlank(byte: number | undefined): boolean {
  return byte === space || byte === tab;
}

/** Compares bytes with a token, without regard to case. @param name in lower case. */
export function equalsToken(bytes: Uint8Array, start: number, end: number, name: Uint8Array): boolean {
  if (end - start !== name.length) return false;
  for (let at = 0; at < name.length; at += 1) {
    if (tokenByte[bytes[start + at] as number] !== name[at]) return false;
  }
  return true;
}

/** Keeps lengths below 2^53. */
const maxLengthDigits = 15;
const chunkedName = Uint8Array.from(Buffer.from('chunked'));
const closeName = Uint8Array.from(Buffer.from('close'));
const keepAliveName = Uint8Array.from(Buffer.from('keep-alive'));
const upgradeName = Uint8Array.from(Buffer.from('upgrade'));
