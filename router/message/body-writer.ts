/** Parts of a body on their way out: small ones behind what is in the writer, large ones from where they are. */
import type { Socket } from 'node:net';
import type { HeadWriter } from './head-writer.ts';

const maxCopiedBytes = 16_384;

/**
 * What is in the writer goes before.
 * @returns whether the bytes must stay as they are until the socket has taken them.
 */
export function writeBodyPart(
  writer: HeadWriter,
  socket: Socket,
  bytes: Buffer,
  start: number,
  end: number,
  chunked: boolean,
): boolean {
  const count = end - start;
  if (count === 0) return false;
  if (count <= maxCopiedBytes) {
    if (chunked) writer.chunk(bytes, start, end);
    else writer.range(bytes, start, end);
    return false;
  }
  if (chunked) writer.latin1(`${count.toString(16)}\r\n`);
  writer.sendBefore(socket, bytes.subarray(start, end));
  if (chunked) writer.latin1('\r\n');
  return true;
}
