/** Reads a stream as a whole, or passes it on, up to a bound. */
import { AppError } from '../errors.ts';

export interface ReadBound {
  readonly maxBytes: number;
  /** Named in the error: "the answer of the registry". */
  readonly what: string;
  /** The length that the sender has declared, as in Content-Length: too large a one is refused before anything is read. */
  readonly declaredBytes?: number | undefined;
  /** Makes another error; without it AppError frame_too_large, which names the bound. */
  readonly tooLarge?: (message: string) => Error;
}

/** Passes the chunks on. @throws the error of the bound, before the chunk that goes over it. */
export async function* bounded<C extends Uint8Array>(input: AsyncIterable<C>, bound: ReadBound): AsyncGenerator<C> {
  const { maxBytes, what, declaredBytes = 0, tooLarge = frameTooLarge } = bound;
  const refuse = (): Error => tooLarge(`${what} is larger than ${maxBytes} bytes`);
  if (declaredBytes > maxBytes) throw refuse();
  let bytes = 0;
  for await (const chunk of input) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw refuse();
    yield chunk;
  }
}

/** @throws the error of the bound, with no more than `maxBytes` kept; the error of the stream. */
export async function readBounded(input: AsyncIterable<Uint8Array>, bound: ReadBound): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bounded(input, bound)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The same as UTF-8. */
export async function readBoundedText(input: AsyncIterable<Uint8Array>, bound: ReadBound): Promise<string> {
  return (await readBounded(input, bound)).toString('utf8');
}

function frameTooLarge(message: string): AppError {
  return new AppError('frame_too_large', message);
}
