/** A request body as a whole, up to a bound. */
import type { IncomingMessage } from 'node:http';
import { AppError } from '../../shared/errors.ts';

/** @throws AppError frame_too_large with this message, before more than `maxBytes` are kept. */
export async function readBody(request: IncomingMessage, maxBytes: number, message: string): Promise<Buffer> {
  const tooLarge = (): AppError => new AppError('frame_too_large', message);
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
