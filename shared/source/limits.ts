/** The bounds that every source is held to, whichever way it comes. */
import { AppError } from '../errors.ts';

export interface SourceLimits {
  /** Of all files together, unpacked. */
  readonly maxBytes: number;
  /** Files, folders and links together. */
  readonly maxFiles: number;
  /** Folders within each other. */
  readonly maxDepth: number;
  readonly maxPathBytes: number;
}

export const defaultSourceLimits: SourceLimits = {
  maxBytes: 512 * 1024 ** 2,
  maxFiles: 50_000,
  maxDepth: 64,
  maxPathBytes: 1_024,
};

/** Left out wherever they are: not of the source, and read by programs that are run in it. */
export const skippedNames: ReadonlySet<string> = new Set(['.git', '.holdfast']);

/** @param path '' for the source as a whole. */
export function sourceInvalid(path: string, what: string, cause?: unknown): AppError {
  return new AppError('source_invalid', `${path === '' ? 'the source' : shown(path)} ${what}`, {
    phase: 'source',
    cause,
  });
}

export function overMaxBytes(maxBytes: number): AppError {
  const bound = maxBytes >= 1024 ** 2 ? `${Math.floor(maxBytes / 1024 ** 2)} MiB` : `${maxBytes} bytes`;
  return sourceInvalid('', `is larger than ${bound} (source.max_bytes)`);
}

export function overMaxFiles(maxFiles: number): AppError {
  return sourceInvalid('', `holds more than ${maxFiles} files (source.max_files)`);
}

/** Names come from strangers: no control characters in messages, and no end of length. */
function shown(path: string): string {
  const plain = path.replace(/[\p{Cc}\u2028\u2029]/gu, '?');
  return plain.length > 200 ? `${plain.slice(0, 200)}…` : plain;
}
