/**
 * Reads and writes the 512-byte headers of tar entries (POSIX.1-2017 pax, with GNU's base-256 numbers). Reading uses no
 * library, because libraries keep whole extension headers in memory, whatever size they declare.
 */

export const blockBytes = 512;

export interface TarHeader {
  readonly name: string;
  readonly mode: number;
  readonly size: number;
  /** `0` file, `1` hard link, `2` symbolic link, `5` folder, `x` and `g` pax, `L` and `K` GNU long names, … */
  readonly type: string;
  readonly linkName: string;
}

/** Describes what is wrong with the archive. Whoever catches it knows which entry was being read. */
export class TarError extends Error {
  override readonly name = 'TarError';
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Decodes a name strictly as UTF-8. @throws TarError */
export function decodeText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new TarError('has a name that is not UTF-8');
  }
}

export type TarNames = Partial<Pick<TarHeader, 'name' | 'linkName' | 'size'>>;

/**
 * @param overrides fields from the extension headers of this entry; the same fields of the block may be truncated.
 * @throws TarError
 */
export function decodeHeader(block: Buffer, overrides: TarNames = {}): TarHeader {
  if (number(block, 148, 8) !== checksum(block)) throw new TarError('is no tar archive, or damaged (checksum)');
  return {
    name: overrides.name ?? nameOf(block),
    mode: number(block, 100, 8),
    size: overrides.size ?? number(block, 124, 12),
    type: typeOf(block),
    linkName: overrides.linkName ?? text(block, 157, 100),
  };
}

export function typeOf(block: Buffer): string {
  return block[156] === 0 ? '0' : String.fromCharCode(block[156] ?? 0);
}

function nameOf(block: Buffer): string {
  const ustar = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = ustar ? text(block, 345, 155) : '';
  const name = text(block, 0, 100);
  return prefix === '' ? name : `${prefix}/${name}`;
}

/**
 * Encodes the headers of one entry: a pax header if names do not fit, and a plain one. There is no owner or time, so
 * that equal trees give equal bytes.
 */
export function encodeHeader(header: TarHeader): Buffer {
  const records = [];
  if (Buffer.byteLength(header.name) > 100) records.push(paxRecord('path', header.name));
  if (Buffer.byteLength(header.linkName) > 100) records.push(paxRecord('linkpath', header.linkName));
  if (header.size > 0o77777777777) records.push(paxRecord('size', String(header.size)));
  const plain = ustarBlock({ ...header, size: Math.min(header.size, 0o77777777777) });
  if (records.length === 0) return plain;
  const data = Buffer.from(records.join(''));
  const pax = ustarBlock({ name: 'pax', mode: 0o644, size: data.length, type: 'x', linkName: '' });
  return Buffer.concat([pax, data, Buffer.alloc(padding(data.length)), plain]);
}

/** Returns the number of bytes up to the next block boundary. */
export function padding(size: number): number {
  return (blockBytes - (size % blockBytes)) % blockBytes;
}

function ustarBlock({ name, mode, size, type, linkName }: TarHeader): Buffer {
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, at: number, length: number): void => {
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  };
  Buffer.from(name).copy(block, 0, 0, 100);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write(type, 156, 'latin1');
  Buffer.from(linkName).copy(block, 157, 0, 100);
  block.write('ustar\x0000', 257, 'latin1');
  octal(checksum(block), 148, 7);
  block.write(' ', 155, 'latin1');
  return block;
}

/** Formats a pax record, `<length> <key>=<value>\n`; the length includes its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + 1;
  while (length !== rest + String(length).length) length = rest + String(length).length;
  return `${length} ${key}=${value}\n`;
}

/** Sums all bytes of the block, with the checksum field itself counted as spaces. */
function checksum(block: Buffer): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < blockBytes; at += 1) if (at < 148 || at >= 156) sum += block[at] ?? 0;
  return sum;
}

function text(block: Buffer, at: number, length: number): string {
  return untilNul(block.subarray(at, at + length));
}

export function untilNul(field: Buffer): string {
  const end = field.indexOf(0);
  return decodeText(end < 0 ? field : field.subarray(0, end));
}

/** Reads a number, which is octal, or base-256 if the first bit is set. */
function number(block: Buffer, at: number, length: number): number {
  const field = block.subarray(at, at + length);
  if (((field[0] ?? 0) & 0x80) === 0) {
    const digits = field
      .toString('latin1')
      .replace(/[\0 ]+$/, '')
      .trimStart();
    if (!/^[0-7]*$/.test(digits)) throw new TarError('is no tar archive, or damaged (number)');
    return digits === '' ? 0 : Number.parseInt(digits, 8);
  }
  let value = (field[0] ?? 0) & 0x7f;
  for (const byte of field.subarray(1)) value = value * 256 + byte;
  if (!Number.isSafeInteger(value)) throw new TarError('has a number out of range');
  return value;
}
