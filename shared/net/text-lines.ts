/** Splits a byte stream into lines of bounded length. */

export interface TextLinesOptions {
  /** Keep only what follows the last `\r` in a line, which is what a progress bar showed last. True by default. */
  readonly progressBars?: boolean;
}

/** Yields the lines without their `\n` or `\r\n`. Only the first `maxBytes` bytes of a longer line are kept. */
export async function* textLines(
  input: AsyncIterable<Buffer>,
  maxBytes: number,
  { progressBars = true }: TextLinesOptions = {},
): AsyncGenerator<string> {
  /** The start of a line whose end has not arrived yet. */
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
    // The bound may have split a character: remove what is left of it.
    return isCut ? line.replace(/\uFFFD+$/, '') : line;
  };
  for await (const chunk of input) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      keep(chunk.subarray(start, end));
      yield take();
      start = end + 1;
    }
    // The rest is copied, since a small view would keep the whole chunk alive.
    if (start < chunk.length && bytes < maxBytes) keep(Buffer.from(chunk.subarray(start, start + maxBytes - bytes)));
  }
  if (bytes > 0) yield take();
}
