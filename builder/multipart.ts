/** Reads multipart/form-data as a stream, one part after the other. RFC 7578, RFC 2046 §5.1.1 */
import { AppError } from '../shared/errors.ts';
import { readBoundedText } from '../shared/net/read-bounded.ts';

export interface Part {
  readonly name: string;
  /** To be read before the next part is asked for; the rest of it is skipped. */
  readonly content: AsyncGenerator<Buffer>;
}

const headBound = { maxBytes: 8_192, what: 'the head of a part', tooLarge: invalid };
const maxParts = 16;

/** @throws AppError invalid_request if the header is not multipart/form-data with a boundary. */
export function boundaryOf(contentType: string | undefined): string {
  const match = /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(
    contentType ?? '',
  );
  const boundary = match?.[1] ?? match?.[2];
  if (boundary === undefined) throw invalid('the body must be multipart/form-data with a boundary');
  return boundary;
}

/** @throws AppError invalid_request if the body is malformed or ends before its last boundary. */
export async function* readParts(body: AsyncIterable<Buffer>, boundary: string): AsyncGenerator<Part> {
  const reader = createReader(body);
  try {
    yield* partsOf(reader, boundary);
  } finally {
    await reader.close();
  }
}

async function* partsOf(reader: Reader, boundary: string): AsyncGenerator<Part> {
  // Text before the first boundary is ignored. The line end makes the first boundary look like the others.
  reader.prepend(Buffer.from('\r\n'));
  const delimiter = Buffer.from(`\r\n--${boundary}`);
  await skip(reader.until(delimiter));
  for (let count = 0; ; count += 1) {
    // A boundary is followed by `--` at the end of the body, or by a line end and a part.
    const mark = await reader.take(2);
    if (mark === '--') return;
    if (mark !== '\r\n') throw invalid('a boundary of the body has no end of line');
    if (count === maxParts) throw invalid(`the body has more than ${String(maxParts)} parts`);
    reader.prepend(Buffer.from('\r\n'));
    const head = await readBoundedText(reader.until(Buffer.from('\r\n\r\n')), headBound);
    const name = /^content-disposition:\s*form-data\s*;(?:.*;)?\s*name=(?:"([^"]*)"|([^\s;"]+))/im.exec(head);
    const content = reader.until(delimiter);
    yield { name: name?.[1] ?? name?.[2] ?? '', content };
    // The next part begins behind what was not read.
    await skip(content);
  }
}

function createReader(body: AsyncIterable<Buffer>) {
  const input = body[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  const more = async (): Promise<void> => {
    const next = await input.next();
    if (next.done === true) throw invalid('the body ends before its last boundary');
    held = held.length === 0 ? next.value : Buffer.concat([held, next.value]);
  };
  return {
    /** The bytes up to the delimiter, which is removed. */
    async *until(delimiter: Buffer): AsyncGenerator<Buffer> {
      for (;;) {
        const at = held.indexOf(delimiter);
        if (at >= 0) {
          const last = held.subarray(0, at);
          held = held.subarray(at + delimiter.length);
          if (last.length > 0) yield last;
          return;
        }
        // The last bytes may be the beginning of the delimiter.
        const safe = held.length - delimiter.length + 1;
        if (safe > 0) {
          const sure = held.subarray(0, safe);
          held = held.subarray(safe);
          yield sure;
        }
        await more();
      }
    },
    async take(count: number): Promise<string> {
      while (held.length < count) await more();
      const taken = held.subarray(0, count).toString('latin1');
      held = held.subarray(count);
      return taken;
    },
    prepend(bytes: Buffer): void {
      held = Buffer.concat([bytes, held]);
    },
    /** Ends reading. */
    async close(): Promise<void> {
      await input.return?.();
    },
  };
}

type Reader = ReturnType<typeof createReader>;

async function skip(content: AsyncGenerator<Buffer>): Promise<void> {
  for await (const chunk of content) void chunk;
}

function invalid(message: string): AppError {
  return new AppError('invalid_request', message);
}
