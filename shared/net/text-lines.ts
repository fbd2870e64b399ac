/** Cuts a stream of bytes into lines, none longer than a bound. */

/** The rest of a longer line is left out; its first `maxBytes` bytes are kept. Line ends are `\n`, `\r\n`, and `\r` as progress bars use it. */
export async function* textLines(input: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<string> {
  let kept = Buffer.alloc(0);
  const add = (part: Buffer): void => {
    if (kept.length < maxBytes) kept = Buffer.concat([kept, part.subarray(0, maxBytes - kept.length)]);
  };
  const take = (): string => {
    const text = kept.toString('utf8').replace(/\r+$/, '');
    kept = Buffer.alloc(0);
    // Of what was cut in the middle of a character nothing is left; of a progress bar, what it showed last.
    return (text.split('\r').at(-1) ?? '').replace(/\uFFFD+$/, '');
  };
  for await (const chunk of input) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      add(chunk.subarray(start, end));
      yield take();
      start = end + 1;
    }
    add(chunk.subarray(start));
  }
  if (kept.length > 0) yield take();
}
