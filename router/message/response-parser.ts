/**
 * The head of an answer, RFC 9112 §4 and §5, as strict as that of a request: an app whose answer could be read in two ways
 * could be made to answer one caller with what is meant for another.
 */
import { cr, lf, space, valueByte } from './bytes.ts';
import { FieldParser, type Progress } from './field-parser.ts';
import { Framing } from './framing.ts';

const State = { version: 0, status: 1, reason: 2, lineLf: 3, fields: 4 } as const;

export class ResponseParser {
  readonly fields: FieldParser;
  readonly framing = new Framing();
  status = 0;
  /** Of HTTP/1.x. */
  minor = 1;
  reasonStart = 0;
  reasonEnd = 0;
  /** After the head. */
  end = 0;
  fault: string | undefined;
  #state: number = State.version;
  #pos = 0;
  #mark = 0;

  constructor(limits: { readonly maxFields: number }) {
    this.fields = new FieldParser(limits.maxFields);
  }

  begin(pos: number): void {
    this.#state = State.version;
    this.#pos = pos;
    this.#mark = pos;
    this.fault = undefined;
  }

  /** Goes on where it was; `end` is the end of what is there. When done, framing is read too. */
  parse(bytes: Buffer, end: number): Progress {
    let pos = this.#pos;
    let state = this.#state;
    for (;;) {
      if (state === State.fields) {
        const progress = this.fields.parse(bytes, end);
        this.#state = state;
        if (progress === 'bad') this.fault = this.fields.fault?.what;
        if (progress !== 'done') return progress;
        this.end = this.fields.end;
        return this.#checkFraming(bytes);
      }
      if (pos >= end) {
        this.#pos = pos;
        this.#state = state;
        return 'more';
      }
      const byte = bytes[pos] as number;
      const at = pos - this.#mark;
      switch (state) {
        case State.version: {
          if (at < versionPrefix.length) {
            if (byte !== versionPrefix[at]) return this.#bad('the status line');
          } else if (at === versionPrefix.length) {
            if (byte !== 0x30 && byte !== 0x31) return this.#bad('the HTTP version');
            this.minor = byte - 0x30;
          } else {
            if (byte !== space) return this.#bad('the status line');
            this.status = 0;
            this.#mark = pos + 1;
            state = State.status;
          }
          pos += 1;
          break;
        }
        case State.status: {
          if (at < 3) {
            if (byte < 0x30 || byte > 0x39) return this.#bad('the status');
            this.status = this.status * 10 + byte - 0x30;
            pos += 1;
            break;
          }
          if (this.status < 100) return this.#bad('the status');
          // The reason may be missing, and with it the blank before it.
          if (byte === space) pos += 1;
          else if (byte !== cr) return this.#bad('the status line');
          this.reasonStart = pos;
          state = State.reason;
          break;
        }
        case State.reason: {
          while (pos < end && valueByte[bytes[pos] as number] !== 0) pos += 1;
          if (pos >= end) break;
          if (bytes[pos] !== cr) return this.#bad('the reason phrase');
          this.reasonEnd = pos;
          pos += 1;
          state = State.lineLf;
          break;
        }
        default: {
          if (byte !== lf) return this.#bad('a bare carriage return');
          pos += 1;
          this.fields.begin(pos);
          state = State.fields;
          break;
        }
      }
    }
  }

  #checkFraming(bytes: Buffer): Progress {
    const { framing, status } = this;
    framing.read(bytes, this.fields);
    if (framing.fault !== undefined) return this.#bad(framing.fault);
    if (framing.chunked && this.minor === 0) return this.#bad('Transfer-Encoding in HTTP/1.0');
    // RFC 9112 §6.1 and RFC 9110 §8.6 forbid both: a body here would be read as the next answer.
    if (status < 200 && (framing.chunked || framing.contentLength > 0)) return this.#bad('a body in an interim answer');
    return 'done';
  }

  #bad(what: string): 'bad' {
    this.fault = what;
    return 'bad';
  }
}

const versionPrefix = Uint8Array.from(Buffer.from('HTTP/1.'));
