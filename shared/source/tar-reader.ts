/** Reads a tar archive strictly as it streams, keeping only one chunk and one extension header in memory. */
import {
  blockBytes,
  decodeHeader,
  decodeText,
  padding,
  TarError,
  typeOf,
  untilNul,
  type TarHeader,
  type TarNames,
} from './tar-header.ts';

/** The size limit of an extension header; any valid path is far shorter. */
const maxExtensionBytes = 64 * 1024;
/** The limit for the zeros at the end, with which writers fill up their last record. */
const maxTrailerBytes = 1024 * 1024;

/**
 * Calls `onEntry` for each entry, in order. It may read the content of the entry once; the rest is skipped.
 * @param options `onBytes` receives the number of bytes read, before they are processed.
 * @throws TarError; what the input, `onEntry` and `onBytes` throw.
 */
export async function readTar(options: {
  readonly input: AsyncIterable<Uint8Array>;
  readonly onEntry: (header: TarHeader, content: AsyncIterable<Buffer>) => Promise<void>;
  readonly onBytes?: (bytes: number) => void;
}): Promise<void> {
  const { input, onEntry, onBytes } = options;
  const source = new ByteSource(input, onBytes);
  let overrides: TarNames = {};
  for (;;) {
    const block = await source.exactly(blockBytes);
    if (isZero(block)) return await readTrailer(source);
    if ('xgLK'.includes(typeOf(block))) {
      overrides = { ...overrides, ...(await readExtension(decodeHeader(block), source)) };
      continue;
    }
    const entry = decodeHeader(block, overrides);
    overrides = {};
    let left = entry.size;
    const content = async function* (): AsyncGenerator<Buffer> {
      while (left > 0) {
        const chunk = await source.upTo(left);
        left -= chunk.length;
        yield chunk;
      }
    };
    await onEntry(entry, content());
    while (left > 0) left -= (await source.upTo(left)).length;
    await source.exactly(padding(entry.size));
  }
}

async function readExtension(header: TarHeader, source: ByteSource): Promise<TarNames> {
  if (header.size > maxExtensionBytes) throw new TarError(`has an extension header over ${maxExtensionBytes} bytes`);
  const data = await source.exactly(header.size);
  await source.exactly(padding(header.size));
  if (header.type === 'L') return { name: untilNul(data) };
  if (header.type === 'K') return { linkName: untilNul(data) };
  const records = readPax(data);
  for (const key of records.keys())
    if (key.startsWith('GNU.sparse.')) throw new TarError('has a sparse file, which is not taken');
  if (records.has('hdrcharset')) throw new TarError('has names in another character set than UTF-8');
  const name = records.get('path');
  const linkName = records.get('linkpath');
  const size = records.get('size');
  if (header.type === 'g') {
    if (name !== undefined || linkName !== undefined || size !== undefined)
      throw new TarError('has a global header that renames or resizes every entry');
    return {};
  }
  if (size !== undefined && !/^\d{1,15}$/.test(size)) throw new TarError('has an extension header that is not valid');
  return {
    ...(name === undefined ? {} : { name }),
    ...(linkName === undefined ? {} : { linkName }),
    ...(size === undefined ? {} : { size: Number(size) }),
  };
}

function readPax(data: Buffer): Map<string, string> {
  const invalid = (): TarError => new TarError('has an extension header that is not valid');
  const records = new Map<string, string>();
  for (let at = 0; at < data.length;) {
    const space = data.indexOf(0x20, at);
    const digits = data.toString('latin1', at, space);
    const end = at + Number(digits);
    if (space < 0 || !/^\d{1,6}$/.test(digits) || end > data.length || end < space + 2 || data[end - 1] !== 0x0a)
      throw invalid();
    const equals = data.indexOf(0x3d, space);
    if (equals < 0 || equals >= end) throw invalid();
    const key = decodeText(data.subarray(space + 1, equals));
    // The values of ignored attributes may be arbitrary bytes.
    const taken = key === 'path' || key === 'linkpath' || key === 'size';
    records.set(key, taken ? decodeText(data.subarray(equals + 1, end - 1)) : '');
    at = end;
  }
  return records;
}

/** Checks that only zeros follow the end, two zero blocks: other tools could read anything else differently. */
async function readTrailer(source: ByteSource): Promise<void> {
  if (!isZero(await source.exactly(blockBytes))) throw new TarError('goes on after its end');
  let trailerBytes = 0;
  for (;;) {
    const chunk = await source.rest();
    if (chunk === undefined) return;
    trailerBytes += chunk.length;
    if (trailerBytes > maxTrailerBytes || !isZero(chunk)) throw new TarError('goes on after its end');
  }
}

function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}

class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #onBytes: ((bytes: number) => void) | undefined;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(input: AsyncIterable<Uint8Array>, onBytes: ((bytes: number) => void) | undefined) {
    this.#chunks = input[Symbol.asyncIterator]();
    this.#onBytes = onBytes;
  }

  /** Reads exactly `count` bytes. @throws TarError if the input ends before that. */
  async exactly(count: number): Promise<Buffer> {
    if (this.#chunk.length >= count && count > 0) return this.#take(count);
    const parts: Buffer[] = [];
    for (let left = count; left > 0;) {
      const part = await this.upTo(left);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts, count);
  }

  /** Reads between one and `count` bytes. @throws TarError if the input has ended. */
  async upTo(count: number): Promise<Buffer> {
    if (this.#chunk.length === 0 && !(await this.#fill())) throw new TarError('ends in the middle: it was cut off');
    return this.#take(Math.min(count, this.#chunk.length));
  }

  /** Returns the next available bytes, or undefined at the end of the input. */
  async rest(): Promise<Buffer | undefined> {
    if (this.#chunk.length === 0 && !(await this.#fill())) return undefined;
    return this.#take(this.#chunk.length);
  }

  async #fill(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return false;
      this.#onBytes?.(next.value.length);
      this.#chunk = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    }
    return true;
  }

  #take(count: number): Buffer {
    const taken = this.#chunk.subarray(0, count);
    this.#chunk = this.#chunk.subarray(count);
    return taken;
  }
}
