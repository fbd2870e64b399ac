/** The head of a request, RFC 9112 §3 and §5, strictly. */
import { METHODS } from 'node:http';
import { cr, lf, space, targetByte, tokenByte } from './bytes.ts';
import type { Progress } from './field-parser.ts';
import { HeadParser, versionPrefix } from './head-parser.ts';

const State = { start: 0, startLf: 1, method: 2, target: 3, version: 4, lineLf: 5 } as const;

export class RequestParser extends HeadParser {
  method = '';
  targetStart = 0;
  targetEnd = 0;
  #state: number = State.start;
  #mark = 0;

  constructor(limits: { readonly maxFields: number }) {
    // Another server could take the other one of two.
    super(limits, { repeatedLengths: false });
  }

  override begin(pos: number): void {
    super.begin(pos);
    this.#state = State.start;
  }

  protected override firstLine(bytes: Buffer, end: number): Progress {
    let { pos } = this;
    let state = this.#state;
    for (;;) {
      if (pos >= end) {
        this.pos = pos;
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
          if (bytes[pos] !== lf) return this.bad(400, 'a bare carriage return');
          pos += 1;
          state = State.start;
          break;
        }
        case State.method: {
          while (pos < end && tokenByte[bytes[pos] as number] !== 0) pos += 1;
          if (pos - this.#mark > maxMethodBytes) return this.bad(501, 'a method that is too long');
          if (pos >= end) break;
          if (bytes[pos] !== space || pos === this.#mark) return this.bad(400, 'the request line');
          const method = methodOf(bytes, this.#mark, pos);
          if (method === prefaceMethod) return this.bad(501, 'the method PRI, which is reserved for HTTP/2');
          this.method = method;
          pos += 1;
          this.targetStart = pos;
          state = State.target;
          break;
        }
        case State.target: {
          while (pos < end && targetByte[bytes[pos] as number] !== 0) pos += 1;
          if (pos >= end) break;
          if (bytes[pos] !== space || pos === this.targetStart) return this.bad(400, 'the request line');
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
            if (byte !== versionPrefix[at]) return this.bad(at === 5 && isDigit(byte) ? 505 : 400, 'the HTTP version');
          } else if (at === versionPrefix.length) {
            if (!isDigit(byte)) return this.bad(400, 'the HTTP version');
            if (byte > 0x31) return this.bad(505, 'the HTTP version');
            this.minor = byte - 0x30;
          } else {
            if (byte !== cr) return this.bad(400, byte === lf ? 'a bare line feed' : 'the request line');
            state = State.lineLf;
          }
          pos += 1;
          break;
        }
        default: {
          if (bytes[pos] !== lf) return this.bad(400, 'a bare carriage return');
          this.pos = pos + 1;
          return 'done';
        }
      }
    }
  }
}

/** A method is any token, case-sensitive (RFC 9110 §9.1): apps have methods of their own. */
function methodOf(bytes: Buffer, start: number, end: number): string {
  const length = end - start;
  const first = bytes[start];
  if (length === 3 && first === 0x47 && bytes[start + 1] === 0x45 && bytes[start + 2] === 0x54) return 'GET';
  const method = bytes.toString('latin1', start, end);
  return methods.get(method) ?? method;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

/** The usual methods, each as one string that all calls share. */
const methods: ReadonlyMap<string, string> = new Map(METHODS.map((method) => [method, method]));
const maxMethodBytes = 128;
/** RFC 9113 §11.6: never used, so that no server takes the beginning of HTTP/2 for a request. */
const prefaceMethod = 'PRI';
