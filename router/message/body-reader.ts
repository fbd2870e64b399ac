/**
 * Reads the body of a message as it arrives: of known length, in chunks (RFC 9112 §7.1, with trailer fields), or until the
 * connection ends. The data of chunks is moved together in place, so that one read yields one range. Chunk extensions are
 * checked and dropped: nobody uses them, and they are how two readers come to see different chunks. Blanks around their parts
 * (BWS, RFC 9112 §7.1.1) are accepted in answers only: old servers pad the sizes with them.
 */
import { cr, hexValue, lf, space, tab, tokenByte, valueByte } from './bytes.ts';
import { Field } from './field-names.ts';
import { fieldStride, FieldParser, type Fault, type Trailers } from './field-parser.ts';

const State = {
  size: 0,
  extensionName: 1,
  extensionValue: 2,
  quoted: 3,
  afterPart: 4,
  afterName: 5,
  sizeLf: 6,
  data: 7,
  dataCr: 8,
  dataLf: 9,
  trailers: 10,
} as const;

export interface BodyLimits {
  readonly maxFields: number;
  readonly maxTrailerBytes: number;
  /** Whether blanks may stand around the size and the extensions of a chunk. */
  readonly chunkBlanks?: boolean;
}

/** For all chunks of a body together; Node's parser has the same limit. */
const maxExtensionBytes = 16_384;
/** Keeps sizes below 2^52. */
const maxSizeDigits = 13;
const semicolon = 0x3b;
const equals = 0x3d;
const quote = 0x22;
const backslash = 0x5c;

export class BodyReader {
  /** The range of data that the last `read` found, and where it stopped. */
  dataStart = 0;
  dataEnd = 0;
  next = 0;
  done = true;
  fault: Fault | undefined;
  /** The trailer fields of a chunked body, if it had any, in memory of their own. */
  trailers: Trailers | undefined;
  readonly #limits: BodyLimits;
  #kind: 'none' | 'length' | 'chunked' | 'close' = 'none';
  #left = 0;
  #state: number = State.size;
  #digits = 0;
  #extensionBytes = 0;
  #mark = 0;
  #trailerLength = 0;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  beginNone(): void {
    this.#kind = 'none';
    this.done = true;
    this.fault = undefined;
    this.trailers = undefined;
  }

  beginLength(length: number): void {
    this.beginNone();
    this.#kind = 'length';
    this.#left = length;
    this.done = length === 0;
  }

  beginChunked(): void {
    this.beginNone();
    this.#kind = 'chunked';
    this.#state = State.size;
    this.#left = 0;
    this.#digits = 0;
    this.#extensionBytes = 0;
    this.done = false;
  }

  beginClose(): void {
    this.beginNone();
    this.#kind = 'close';
    this.done = false;
  }

  get endsWithConnection(): boolean {
    return this.#kind === 'close';
  }

  /** Bytes of a body of known length that have not arrived; 0 for other bodies. */
  get left(): number {
    return this.#kind === 'length' ? this.#left : 0;
  }

  /** Reads what belongs to the body. Once `fault` is set, nothing more may be read. */
  read(bytes: Buffer, start: number, end: number): void {
    this.dataStart = start;
    this.dataEnd = start;
    this.next = start;
    switch (this.#kind) {
      case 'none':
        return;
      case 'length': {
        const count = Math.min(this.#left, end - start);
        this.#left -= count;
        this.dataEnd = start + count;
        this.next = this.dataEnd;
        this.done = this.#left === 0;
        return;
      }
      case 'close':
        this.dataEnd = end;
        this.next = end;
        return;
      case 'chunked':
        this.#readChunks(bytes, start, end);
    }
  }

  #readChunks(bytes: Buffer, start: number, end: number): void {
    let pos = start;
    while (pos < end && !this.done && this.fault === undefined) {
      if (this.#state === State.data) {
        const count = Math.min(this.#left, end - pos);
        this.#take(bytes, pos, count);
        this.#left -= count;
        pos += count;
        if (this.#left === 0) this.#state = State.dataCr;
      } else if (this.#state === State.trailers) pos = this.#readTrailers(bytes, pos, end);
      else {
        this.#readFrame(bytes[pos] as number);
        pos += 1;
      }
    }
    this.next = pos;
  }

  /** Reads a byte of what is around the data of a chunk: its size with extensions, and the ends of lines. */
  #readFrame(byte: number): void {
    switch (this.#state) {
      case State.size: {
        const digit = hexValue[byte] as number;
        if (digit !== 255) {
          this.#left = this.#left * 16 + digit;
          this.#digits += 1;
          if (this.#digits > maxSizeDigits) this.#bad('a chunk size that is too long');
        } else if (this.#digits === 0) this.#bad('a chunk without a size');
        else this.#afterPart(byte, 'a chunk size that is not a number');
        return;
      }
      case State.extensionName:
        if (tokenByte[byte] !== 0) this.#mark += 1;
        else if (this.#mark > 0) this.#afterName(byte);
        else if (!this.#isBlank(byte)) this.#bad('a chunk extension without a name');
        this.#countExtension();
        return;
      case State.afterName:
        this.#afterName(byte);
        return;
      case State.extensionValue:
        if (tokenByte[byte] !== 0) this.#mark += 1;
        else if (byte === quote && this.#mark === 0) this.#state = State.quoted;
        else if (this.#mark > 0) this.#afterPart(byte, 'a chunk extension');
        else if (!this.#isBlank(byte)) this.#bad('a chunk extension without a value');
        this.#countExtension();
        return;
      case State.quoted:
        if (byte === quote) this.#state = State.afterPart;
        else if (byte === backslash || valueByte[byte] === 0) this.#bad('a chunk extension');
        this.#countExtension();
        return;
      case State.afterPart:
        this.#afterPart(byte, 'a chunk extension');
        return;
      case State.sizeLf:
        if (byte !== lf) this.#bad('a bare carriage return behind a chunk size');
        this.#state = this.#left === 0 ? State.trailers : State.data;
        this.#trailerLength = 0;
        return;
      case State.dataCr:
        if (byte !== cr) this.#bad('a chunk longer than its size');
        this.#state = State.dataLf;
        return;
      default:
        if (byte !== lf) this.#bad('a bare carriage return behind a chunk');
        this.#state = State.size;
        this.#left = 0;
        this.#digits = 0;
    }
  }

  /** Reads what may follow a size or an extension: another extension, or the end of the line. */
  #afterPart(byte: number, what: string): void {
    if (byte === cr) this.#state = State.sizeLf;
    else if (byte === semicolon) {
      this.#state = State.extensionName;
      this.#mark = 0;
    } else if (this.#isBlank(byte)) {
      this.#state = State.afterPart;
      this.#countExtension();
    } else this.#bad(byte === lf ? 'a bare line feed behind a chunk size' : what);
  }

  /** Reads what may follow the name of an extension: its value, or what follows an extension. */
  #afterName(byte: number): void {
    if (byte === equals) {
      this.#state = State.extensionValue;
      this.#mark = 0;
    } else if (this.#isBlank(byte)) {
      this.#state = State.afterName;
      this.#countExtension();
    } else this.#afterPart(byte, 'a chunk extension');
  }

  #isBlank(byte: number): boolean {
    return (byte === space || byte === tab) && this.#limits.chunkBlanks === true;
  }

  #countExtension(): void {
    this.#extensionBytes += 1;
    if (this.#extensionBytes > maxExtensionBytes) this.#bad('chunk extensions that are too long');
  }

  #take(bytes: Buffer, pos: number, count: number): void {
    if (this.dataEnd === this.dataStart) {
      this.dataStart = pos;
      this.dataEnd = pos + count;
      return;
    }
    bytes.copyWithin(this.dataEnd, pos, pos + count);
    this.dataEnd += count;
  }

  /** @returns the offset of the first byte that was not taken. */
  #readTrailers(bytes: Buffer, pos: number, end: number): number {
    // Nearly all bodies have none.
    if (this.#trailerLength === 0 && end - pos >= 2 && bytes[pos] === cr && bytes[pos + 1] === lf) {
      this.done = true;
      return pos + 2;
    }
    if (this.trailers === undefined || this.#trailerLength === 0) {
      const fields = new FieldParser(this.#limits.maxFields);
      fields.begin(0);
      this.trailers = { bytes: Buffer.alloc(this.#limits.maxTrailerBytes), fields };
    }
    const { bytes: own, fields } = this.trailers;
    const before = this.#trailerLength;
    const count = Math.min(end - pos, own.length - before);
    bytes.copy(own, before, pos, pos + count);
    this.#trailerLength += count;
    switch (fields.parse(own, this.#trailerLength)) {
      case 'done':
        if (delimits(fields)) {
          this.#bad('a trailer field that says where a message ends');
          return pos;
        }
        this.done = true;
        if (fields.count === 0) this.trailers = undefined;
        return pos + fields.end - before;
      case 'bad':
        this.fault = fields.fault;
        return pos;
      case 'more':
        if (this.#trailerLength === own.length) this.fault = { status: 431, what: 'trailer fields over the limit' };
        return pos + count;
    }
  }

  #bad(what: string): void {
    this.fault ??= { status: 400, what };
  }
}

/** RFC 9110 §6.5.1 forbids such a trailer field: a reader that merges trailers into the header would see another message. */
function delimits({ at, count }: FieldParser): boolean {
  for (let base = 4; base < count * fieldStride; base += fieldStride) {
    if (at[base] === Field.contentLength || at[base] === Field.transferEncoding) return true;
  }
  return false;
}
