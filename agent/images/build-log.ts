/** The last lines of one build. */
import { LineRing } from '../../shared/net/line-ring.ts';

const maxLines = 200;
const maxLineBytes = 4_096;
const maxBytes = 256 * 1_024;

export class BuildLog extends LineRing<string> {
  constructor() {
    super({
      maxLines,
      maxSize: maxBytes,
      sizeOf: (line) => Buffer.byteLength(line),
      missed: (count) => `… ${count} lines left out: they came faster than they were read`,
    });
  }

  override push(text: string): void {
    super.push(bounded(text));
  }
}

/** Removes NUL, which Postgres does not accept in JSON, and cuts a long line between two characters. */
function bounded(text: string): string {
  const line = text.replaceAll('\0', '');
  if (Buffer.byteLength(line) <= maxLineBytes) return line;
  const cut = Buffer.from(line).subarray(0, maxLineBytes).toString('utf8');
  return cut.endsWith('\ufffd') ? cut.slice(0, -1) : cut;
}
