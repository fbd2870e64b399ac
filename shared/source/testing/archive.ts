/** Creates archives for tests, including malicious and malformed ones. */
import { gzipSync } from 'node:zlib';
import { encodeHeader, padding, type TarHeader } from '../tar-header.ts';

export interface TestEntry extends Partial<TarHeader> {
  readonly name: string;
  readonly data?: string | Buffer;
}

/** Creates one entry; missing fields are those of a plain file. */
export function tarEntry({ data = '', ...header }: TestEntry): Buffer {
  const content = Buffer.from(data);
  const full = { mode: 0o644, size: content.length, type: '0', linkName: '', ...header };
  return Buffer.concat([encodeHeader(full), content, Buffer.alloc(padding(content.length))]);
}

export const tarEnd = Buffer.alloc(1_024);

export function tarOf(...entries: readonly TestEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), tarEnd]);
}

export function tarGzOf(...entries: readonly TestEntry[]): Buffer {
  return gzipSync(tarOf(...entries));
}
