/**
 * The head of a request, RFC 9112 §3 and §5, incremental and strict. It is a place to look at one head: offsets into bytes
 * that the caller keeps, good until the next `begin`.
 */
import { METHODS } from 'node:http';
import { cr, lf, space, targetByte, tokenByte } from './bytes.ts';
import { FieldParser, type Fault, type Progress } from './field-parser.ts';
import { Framing } from './framing.ts';

const State = { start: 0, startLf: 1, method: 2, target: 3, version: 4, lineLf: 5, fields: 6 } as const;

export class RequestParser {
  fields: FieldParser;
  framing = new Framing();
  method = '';
  targetStart = 0;
  targetEnd = 0;
  /** Of HTTP/1.x. */
  minor = 1;
  /** After the head. */
  end = 0;
  fault: Fault | undefined;
  /** Whose head it has parsed, for the caller to know. */
  parsed: unknown;
  #state: number = State.start;
  #pos = 0;
  #mark = 0;

  constructor(limits: { readonly maxFields: number }) {
    this.fields = new FieldParser(limits.maxFields);
  }

  /** Whether the request line is not over yet. */
  get inRequestLine(): boolean {
    return this.#state !== State.fields;
  }

  begin(pos: number): void {
    this.#state = State.start;
    this.#pos = pos;
    this.fault = undefined;
  }

  /** What it has parsed is in `other` from now on. */
  moveTo(other: RequestParser): void {
    const { fields, framing } = other;
    other.fields = this.fields;
    other.framing = this.framing;
    other.method = this.method;
    other.targetStart = this.targetStart;
    other.targetEnd = this.targetEnd;
    other.minor = this.minor;
    other.end = this.end;
    other.parsed = this.parsed;
    this.fields = fields;
    this.framing = framing;
    this.parsed = undefined;
  }

  /** Goes on where it was; `end` is the end of what is there. When done, framing is read too. */
  parse(bytes: Buffer, end: number): Progress {
    let pos = this.#pos;
    let state = this.#state;
    for (;;) {
      if (state === State.fields) {
        const progress = this.fields.parse(bytes, end);
        this.#state = state;
        if (progress === 'bad') this.fault = this.fields.fault;
        if (progress !== 'done') return progress;
        this.end = this.fields.end;
        return this.#checkFraming(bytes);
      }
      if (pos >= end) {
        this.#pos = pos;
        this.#state = state;
        return 'more';
      }
      switch (state) {
        case State.start: {
          // RFC 9112 §2.2: an empty line before the request line, as old clients send it after a body.
          if (bytes[pos] === cr) {
            pos += 1;
            state = State.startLf;
            break;
          }
          this.#mark = pos;
          state = State.method;
          break;
        }
        case State.startLf: {
          if (bytes[pos] !== lf) return this.#bad(400, 'a bare carriage return');
          pos += 1;
          state = State.start;
          break;
        }
        case State.method: {
          while (pos < end && tokenByte[bytes[pos] as number] !== 0) pos += 1;
          if (pos - this.#mark > maxMethodBytes) return this.#bad(501, 'an unknown method');
          if (pos >= end) break;
          if (bytes[pos] !== space || pos === this.#mark) return this.#bad(400, 'the request line');
          const method = methodOf(bytes, this.#mark, pos);
          if (method === undefined) return this.#bad(501, 'an unknown method');
          this.method = method;
          pos += 1;
          this.targetStart = pos;
          state = State.target;
          break;
        }
        case State.target: {
          while (pos < end && targetByte[bytes[pos] as number] !== 0) pos += 1;
          if (pos >= end) break;
          if (bytes[pos] !== space || pos === this.targetStart) return this.#bad(400, 'the request line');
          this.targetEnd = pos;
          pos += 1;
          this.#mark = pos;
          state = State.version;
          break;
        }
        case State.version: {
          const at = pos - this.#mark;
          const byte = bytes[pos] as number;
          if (at < versionPrefix.length) {
            if (byte !== versionPrefix[at]) return this.#bad(at === 5 && isDigit(byte) ? 505 : 400, 'the HTTP version');
          } else if (at === versionPrefix.length) {
            if (!isDigit(byte)) return this.#bad(400, 'the HTTP version');
            if (byte > 0x31) return this.#bad(505, 'the HTTP version');
            this.minor = byte - 0x30;
          } else {
            if (byte !== cr) return this.#bad(400, byte === lf ? 'a bare line feed' : 'the request line');
            state = State.lineLf;
          }
          pos += 1;
          break;
        }
        default: {
          if (bytes[pos] !== lf) return this.#bad(400, 'a bare carriage return');
          pos += 1;
          this.fields.begin(pos);
          state = State.fields;
          break;
        }
      }
    }
  }

  #checkFraming(bytes: Buffer): Progress {
    const { framing } = this;
    framing.read(bytes, this.fields);
    if (framing.fault !== undefined) return this.#bad(400, framing.fault);
    // RFC 9112 §6.1: HTTP/1.0 does not know the field, so the framing is in doubt.
    if (framing.chunked && this.minor === 0) return this.#bad(400, 'Transfer-Encoding in HTTP/1.0');
    return 'done';
  }

  #bad(status: number, what: string): 'bad' {
    this.fault = { status, what };
    return 'bad';
  }
}

/** Of those that node's own parser takes. RFC 9110 §9.1: methods are case-sensitive. */
function methodOf(bytes: Buffer, start: number, end: number): string | undefined {
  const length = end - start;
  const first = bytes[start];
  if (length === 3 && first === 0x47 && bytes[start + 1] === 0x45 && bytes[start + 2] === 0x54) return 'GET';
  return methods.get(bytes.toString('latin1', start, end));
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

const methods: ReadonlyMap<string, string> = new Map(METHODS.map((method) => [method, method]));
const maxMethodBytes = Math.max(...METHODS.map((method) => method.length));
const versionPrefix = Uint8Array.from(Buffer.from('HTTP/1.'));
