/**
 * The head of an answer, RFC 9112 §4 and §5, as strictly as that of a request: an app whose answer could be read in two ways
 * could be made to answer one client with what is meant for another. Equal Content-Lengths have one meaning, and become one.
 */
import { cr, lf, space, valueByte } from './bytes.ts';
import type { Progress } from './field-parser.ts';
import { HeadParser, versionPrefix } from './head-parser.ts';

const State = { version: 0, status: 1, reason: 2, lineLf: 3 } as const;

export class ResponseParser extends HeadParser {
  status = 0;
  reasonStart = 0;
  reasonEnd = 0;
  #state: number = State.version;
  #mark = 0;

  constructor(limits: { readonly maxFields: number }, options = { repeatedLengths: true }) {
    super(limits, options);
  }

  override begin(pos: number): void {
    super.begin(pos);
    this.#state = State.version;
    this.#mark = pos;
  }

  override parse(bytes: Buffer, end: number): Progress {
    const progress = super.parse(bytes, end);
    const { framing, status } = this;
    // RFC 9112 §6.1 and RFC 9110 §8.6 forbid both: a body here would be read as the next answer.
    if (progress === 'done' && status < 200 && (framing.chunked || framing.contentLength > 0)) {
      return this.bad(400, 'a body in an interim answer');
    }
    return progress;
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
      const byte = bytes[pos] as number;
      const at = pos - this.#mark;
      switch (state) {
        case State.version: {
          if (at < versionPrefix.length) {
            if (byte !== versionPrefix[at]) return this.bad(400, 'the status line');
          } else if (at === versionPrefix.length) {
            if (byte !== 0x30 && byte !== 0x31) return this.bad(400, 'the HTTP version');
            this.minor = byte - 0x30;
          } else {
            if (byte !== space) return this.bad(400, 'the status line');
            this.status = 0;
            this.#mark = pos + 1;
            state = State.status;
          }
          pos += 1;
          break;
        }
        case State.status: {
          if (at < 3) {
            if (byte < 0x30 || byte > 0x39) return this.bad(400, 'the status');
            this.status = this.status * 10 + byte - 0x30;
            pos += 1;
            break;
          }
          if (this.status < 100) return this.bad(400, 'the status');
          // The reason may be missing, and with it the blank before it.
          if (byte === space) pos += 1;
          else if (byte !== cr) return this.bad(400, 'the status line');
          this.reasonStart = pos;
          state = State.reason;
          break;
        }
        case State.reason: {
          while (pos < end && valueByte[bytes[pos] as number] !== 0) pos += 1;
          if (pos >= end) break;
          if (bytes[pos] !== cr) return this.bad(400, 'the reason phrase');
          this.reasonEnd = pos;
          pos += 1;
          state = State.lineLf;
          break;
        }
        default: {
          if (byte !== lf) return this.bad(400, 'a bare carriage return');
          this.pos = pos + 1;
          return 'done';
        }
      }
    }
  }
}
