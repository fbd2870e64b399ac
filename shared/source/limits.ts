/** The limits that apply to every source, whether it is a folder, a git tree or an upload. */
import { AppError } from '../errors.ts';

export interface SourceLimits {
  /** Total size of all files, unpacked. */
  readonly maxBytes: number;
  /** Number of files, folders and links together. */
  readonly maxFiles: number;
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

/** What to do about an entry that cannot be taken. */
export const ignoreAdvice = ': remove it, or list it in .dockerignore';

/** The error for a file or folder that could not be read: source_invalid if that is not allowed, otherwise the error itself. */
export function readError(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'EACCES' && code !== 'EPERM') return error;
  return sourceInvalid(path, `cannot be read (${code}): allow it to be read, or list it in .dockerignore`, error);
}

export function overMaxBytes(maxBytes: number): AppError {
  const bound = maxBytes >= 1024 ** 2 ? `${Math.floor(maxBytes / 1024 ** 2)} MiB` : `${maxBytes} bytes`;
  return sourceInvalid('', `is larger than ${bound} (source.max_bytes)`);
}

/** @param most the folder with most of the files, if known. */
export function overMaxFiles(maxFiles: number, most?: { readonly folder: string; readonly files: number }): AppError {
  const where =
    most === undefined
      ? ''
      : `; ${shown(most.folder)} has ${most.files} of them: list what the app does not need in .dockerignore`;
  return sourceInvalid('', `holds more than ${maxFiles} files (source.max_files)${where}`);
}

/** Makes an untrusted name safe for messages: no control characters, and a bounded length. */
function shown(path: string): string {
  const plain = path.replace(/[\p{Cc}\u2028\u2029]/gu, '?');
  return plain.length > 200 ? `${plain.slice(0, 200)}…` : plain;
}
