/** The limits that apply to every source, whether it is a folder, a git tree or an upload. */
import { AppError } from '../errors.ts';

export interface SourceLimits {
  /** Total size of all files, unpacked. */
  readonly maxBytes: number;
  /** Number of files, folders and links together. */
  readonly maxFiles: number;
  /** Nesting depth of folders. */
  readonly maxDepth: number;
  readonly maxPathBytes: number;
}

export const defaultSourceLimits: SourceLimits = {
  maxBytes: 512 * 1024 ** 2,
  maxFiles: 50_000,
  maxDepth: 64,
  maxPathBytes: 1_024,
};

/** Left out at any depth: these are not part of the source, and programs that run in it would read them. */
export const skippedNames: ReadonlySet<string> = new Set(['.git', '.holdfast']);

/** @param path the path that the error names; '' for the source as a whole. */
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

/** Makes an untrusted name safe for messages: no control characters, and a bounded length. */
function shown(path: string): string {
  const plain = path.replace(/[\p{Cc}\u2028\u2029]/gu, '?');
  return plain.length > 200 ? `${plain.slice(0, 200)}…` : plain;
}
