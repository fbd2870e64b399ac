/** Cuts a stream of bytes into lines, none longer than a bound. */

export interface TextLinesOptions {
  /** Show what a progress bar showed last: of a line with `\r` inside, only what follows the last one. True without it. */
  readonly progressBars?: boolean;
}

/** Lines without their end, `\n` or `\r\n`. Of a longer line the first `maxBytes` bytes are kept, the rest is left out. */
export async function* textLines(
  input: AsyncIterable<Buffer>,
  maxBytes: number,
  { progressBars = true }: TextLinesOptions = {},
): AsyncGenerator<string> {
  /** The beginning of a line that the chunks so far have not ended. */
  let parts: Buffer[] = [];
  let bytes = 0;
  const keep = (part: Buffer): void => {
    const kept = part.subarray(0, maxBytes - bytes);
    if (kept.length > 0) parts.push(kept);
    bytes += kept.length;
  };
  const take = (): string => {
    const isCut = bytes >= maxBytes;
    const text = Buffer.concat(parts).toString('utf8').replace(/\r+$/, '');
    parts = [];
    bytes = 0;
    const line = progressBars ? text.slice(text.lastIndexOf('\r') + 1) : text;
    // Of a character that the bound cut in two nothing is left.
    return isCut ? line.replace(/\uFFFD+$/, '') : line;
  };
  for await (const chunk of input) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      keep(chunk.subarray(start, end));
      yield take();
      start = end + 1;
    }
    // A copy: a small rest would keep the whole chunk alive.
    if (start < chunk.length && bytes < maxBytes) keep(Buffer.from(chunk.subarray(start, start + maxBytes - bytes)));
  }
  if (bytes > 0) yield take();
}
