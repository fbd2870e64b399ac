/** What the heads of requests and of answers share: a first line, fields, and what both say of the body. */
import { FieldParser, type Fault, type Progress } from './field-parser.ts';
import { Framing } from './framing.ts';

export const versionPrefix = Uint8Array.from(Buffer.from('HTTP/1.'));

/** Parses one head at a time, however it is cut, into offsets of the caller's bytes, which are good until the next `begin`. */
export abstract class HeadParser {
  readonly fields: FieldParser;
  readonly framing: Framing;
  /** Minor version of HTTP/1. */
  minor = 1;
  /** Offset of the first byte after the head. */
  end = 0;
  fault: Fault | undefined;
  protected pos = 0;
  #inFields = false;

  /** @param options.repeatedLengths whether equal Content-Lengths count as one. */
  constructor(limits: { readonly maxFields: number }, options: { readonly repeatedLengths: boolean }) {
    this.fields = new FieldParser(limits.maxFields);
    this.framing = new Framing(options.repeatedLengths);
  }

  get inFirstLine(): boolean {
    return !this.#inFields;
  }

  begin(pos: number): void {
    this.pos = pos;
    this.fault = undefined;
    this.#inFields = false;
  }

  /** Continues where it stopped, up to `end`. When done, `framing` is known too. */
  parse(bytes: Buffer, end: number): Progress {
    if (!this.#inFields) {
      const progress = this.firstLine(bytes, end);
      if (progress !== 'done') return progress;
      this.fields.begin(this.pos);
      this.#inFields = true;
    }
    const progress = this.fields.parse(bytes, end);
    if (progress === 'bad') this.fault = this.fields.fault;
    if (progress !== 'done') return progress;
    this.end = this.fields.end;
    this.framing.read(bytes, this.fields);
    if (this.framing.fault !== undefined) return this.bad(400, this.framing.fault);
    // RFC 9112 §6.1: HTTP/1.0 does not know the field, so the framing is in doubt.
    if (this.framing.chunked && this.minor === 0) return this.bad(400, 'Transfer-Encoding in HTTP/1.0');
    return 'done';
  }

  /** Parses the first line from `pos`. When done, `pos` is behind it. */
  protected abstract firstLine(bytes: Buffer, end: number): Progress;

  protected bad(status: number, what: string): 'bad' {
    this.fault = { status, what };
    return 'bad';
  }
}
