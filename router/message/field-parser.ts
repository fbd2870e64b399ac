/**
 * Parses header and trailer sections, RFC 9112 §5, strictly: no folding, no bare CR or LF, no space before a colon, no byte in a
 * value that is not allowed there. Keeps offsets only. A section may be cut at any byte; the parser continues with the rest.
 */
import { colon, cr, lf, space, tab, tokenByte, valueByte } from './bytes.ts';
import { fieldKind } from './field-names.ts';
import { quoted } from './quoted.ts';

/** `more`: needs more bytes · `done`: the section or head is complete · `bad`: it is refused, see `fault` */
export type Progress = 'more' | 'done' | 'bad';

/** Why a message is refused: a status, and a noun phrase for the error message. */
export interface Fault {
  readonly status: number;
  readonly what: string;
}

/** A trailer section, and the parser that has read it. */
export interface Trailers {
  readonly bytes: Buffer;
  readonly fields: FieldParser;
}

export const fieldStride = 5;

const State = { lineStart: 0, name: 1, beforeValue: 2, value: 3, lineEnd: 4, sectionEnd: 5 } as const;

export class FieldParser {
  readonly #maxFields: number;
  /**
   * Five numbers for each field: start of its line and name, end of its name, start and end of its trimmed value, and its kind.
   * A line ends where the next one starts, the last one at `linesEnd`.
   */
  readonly at: number[] = [];
  count = 0;
  /** Offset of the empty line that ends the section. */
  linesEnd = 0;
  /** Offset of the first byte after the section. */
  end = 0;
  fault: Fault | undefined;
  #state: number = State.lineStart;
  #pos = 0;

  constructor(maxFields: number) {
    this.#maxFields = maxFields;
  }

  /** @param pos offset of the section. */
  begin(pos: number): void {
    this.count = 0;
    this.fault = undefined;
    this.#state = State.lineStart;
    this.#pos = pos;
  }

  /** Continues where it stopped, up to `end`. */
  parse(bytes: Uint8Array, end: number): Progress {
    const { at } = this;
    let pos = this.#pos;
    let state = this.#state;
    let base = this.count * fieldStride;
    for (;;) {
      if (pos >= end) {
        this.#pos = pos;
        this.#state = state;
        return 'more';
      }
      switch (state) {
        case State.lineStart: {
          const byte = bytes[pos] as number;
          if (byte === cr) {
            this.linesEnd = pos;
            pos += 1;
            state = State.sectionEnd;
            break;
          }
          if (byte === space || byte === tab) return this.#bad(`a folded field${this.#behind(bytes)}`);
          if (tokenByte[byte] === 0) {
            if (byte === lf) return this.#bad(`a bare line feed${this.#behind(bytes)}`);
            return this.#bad(`an invalid field name (${lineAt(bytes, pos, end)})`);
          }
          if (this.count >= this.#maxFields) {
            this.fault = { status: 431, what: `more than ${this.#maxFields} fields` };
            return 'bad';
          }
          at[base] = pos;
          pos += 1;
          state = State.name;
          break;
        }
        case State.name: {
          while (pos < end && tokenByte[bytes[pos] as number] !== 0) pos += 1;
          if (pos >= end) break;
          if (bytes[pos] !== colon)
            return this.#bad(`an invalid field name (${lineAt(bytes, at[base] as number, end)})`);
          at[base + 1] = pos;
          pos += 1;
          state = State.beforeValue;
          break;
        }
        case State.beforeValue: {
          while (pos < end && (bytes[pos] === space || bytes[pos] === tab)) pos += 1;
          at[base + 2] = pos;
          if (pos < end) state = State.value;
          break;
        }
        case State.value: {
          while (pos < end && valueByte[bytes[pos] as number] !== 0) pos += 1;
          if (pos >= end) break;
          if (bytes[pos] !== cr) {
            const what = bytes[pos] === lf ? 'a bare line feed' : 'a control character';
            return this.#bad(`${what} in the field ${quoted(bytes, at[base] as number, at[base + 1] as number)}`);
          }
          let valueEnd = pos;
          const valueStart = at[base + 2] as number;
          while (valueEnd > valueStart && (bytes[valueEnd - 1] === space || bytes[valueEnd - 1] === tab)) valueEnd -= 1;
          at[base + 3] = valueEnd;
          pos += 1;
          state = State.lineEnd;
          break;
        }
        case State.lineEnd: {
          if (bytes[pos] !== lf) {
            const name = quoted(bytes, at[base] as number, at[base + 1] as number);
            return this.#bad(`a bare carriage return in the field ${name}`);
          }
          at[base + 4] = fieldKind(bytes, at[base] as number, at[base + 1] as number);
          this.count += 1;
          base += fieldStride;
          pos += 1;
          state = State.lineStart;
          break;
        }
        default: {
          if (bytes[pos] !== lf) return this.#bad(`a bare carriage return${this.#behind(bytes)}`);
          this.end = pos + 1;
          this.#pos = this.end;
          return 'done';
        }
      }
    }
  }

  /** Compares the name of the field at `base` without regard to case. @param name in lower case. */
  isNamed(bytes: Uint8Array, base: number, name: string): boolean {
    const start = this.at[base] as number;
    if ((this.at[base + 1] as number) - start !== name.length) return false;
    for (let index = 0; index < name.length; index += 1) {
      if (tokenByte[bytes[start + index] as number] !== name.charCodeAt(index)) return false;
    }
    return true;
  }

  valueAt(bytes: Buffer, base: number): string {
    return bytes.toString('latin1', this.at[base + 2], this.at[base + 3]);
  }

  /** Offset of the first byte after the line of the field. */
  lineEndOf(index: number): number {
    return index + 1 < this.count ? (this.at[(index + 1) * fieldStride] as number) : this.linesEnd;
  }

  #bad(what: string): 'bad' {
    this.fault = { status: 400, what };
    return 'bad';
  }

  /** Names the last whole field for an error about what follows it. */
  #behind(bytes: Uint8Array): string {
    const base = (this.count - 1) * fieldStride;
    return base < 0 ? '' : ` behind the field ${quoted(bytes, this.at[base] as number, this.at[base + 1] as number)}`;
  }
}

/** The beginning of a line up to its colon, for an error about the name in it. */
function lineAt(bytes: Uint8Array, start: number, end: number): string {
  let stop = start;
  while (stop < end && bytes[stop] !== colon && bytes[stop] !== cr && bytes[stop] !== lf) stop += 1;
  return quoted(bytes, start, stop);
}
