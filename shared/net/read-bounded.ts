/** Reads or forwards a stream up to a size limit. */
import { AppError } from '../errors.ts';

export interface ReadBound {
  readonly maxBytes: number;
  /** Names the stream in the error: "the answer of the registry". */
  readonly what: string;
  /** The length that the sender declared, as in Content-Length. If it exceeds the limit, nothing is read. */
  readonly declaredBytes?: number | undefined;
  /** Called for each chunk before it is kept; may throw. */
  readonly onBytes?: (bytes: number) => void;
  /** Creates the error to throw; by default AppError frame_too_large, which names the limit. */
  readonly tooLarge?: (message: string) => Error;
}

/** Yields the chunks. @throws the error of the limit, before yielding the chunk that exceeds it. */
export async function* bounded<C extends Uint8Array>(input: AsyncIterable<C>, bound: ReadBound): AsyncGenerator<C> {
  const { maxBytes, what, declaredBytes = 0, tooLarge = frameTooLarge, onBytes } = bound;
  const refuse = (): Error => tooLarge(`${what} is larger than ${maxBytes} bytes`);
  if (declaredBytes > maxBytes) throw refuse();
  let bytes = 0;
  for await (const chunk of input) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw refuse();
    onBytes?.(chunk.length);
    yield chunk;
  }
}

/** Reads the whole stream, keeping at most `maxBytes`. @throws the error of the limit; the error of the stream. */
export async function readBounded(input: AsyncIterable<Uint8Array>, bound: ReadBound): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bounded(input, bound)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Reads the whole stream as UTF-8 text. @throws as `readBounded`. */
export async function readBoundedText(input: AsyncIterable<Uint8Array>, bound: ReadBound): Promise<string> {
  return (await readBounded(input, bound)).toString('utf8');
}

function frameTooLarge(message: string): AppError {
  return new AppError('frame_too_large', message);
}
