/** The last lines that an app has written. */
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { LineRing } from '../../../shared/net/line-ring.ts';
import type { LogLine } from '../../../shared/protocol/views.ts';

const maxLineChars = 16_384;

export class LogRing extends LineRing<LogLine> {
  constructor({ maxLines = 10_000, maxChars = 2 * 1024 * 1024 } = {}) {
    super({
      maxLines,
      maxSize: maxChars,
      sizeOf: ({ line }) => line.length,
      missed: (count, { version }) => ({
        instance: 'holdfast',
        version,
        line: `… up to ${count} lines were lost: they came faster than they were read`,
      }),
    });
  }
}

/** Selects the lines of one version, or all if none is named. */
export function ofVersion(version: number | undefined): (line: LogLine) => boolean {
  return (line) => version === undefined || line.version === version;
}

/** Calls `push` for each line of the stream, without its line end. A line that is too long becomes several. */
export function readLines(stream: Readable, push: (line: string) => void): void {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  const take = (text: string): void => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) cut(line.endsWith('\r') ? line.slice(0, -1) : line, push);
    while (rest.length > maxLineChars) {
      push(rest.slice(0, maxLineChars));
      rest = rest.slice(maxLineChars);
    }
  };
  stream.on('data', (chunk: Buffer) => take(decoder.write(chunk)));
  stream.once('close', () => {
    take(decoder.end());
    if (rest !== '') push(rest);
  });
  // A broken pipe is the end of the output.
  stream.on('error', () => stream.destroy());
}

function cut(line: string, push: (line: string) => void): void {
  if (line.length <= maxLineChars) return push(line);
  for (let at = 0; at < line.length; at += maxLineChars) push(line.slice(at, at + maxLineChars));
}
