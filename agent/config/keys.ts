/** Kinds of keys that several sections of the configuration have. */
import { z } from 'zod';

/** An optional text, such as the path of a file. */
export function optionalText(description: string) {
  return z.string().min(1).optional().describe(description);
}

/** A text that is not empty. */
export function text(maxLength: number) {
  return z.string().min(1).max(maxLength);
}

/** The arguments of `refine` that refuse a section with both a secret and a file that contains it. */
export function valueOrFile(
  key: string,
): [check: (section: Readonly<Record<string, unknown>>) => boolean, issue: { message: string; path: string[] }] {
  const file = `${key}_file`;
  const message = `is set too; set only one of ${key} and ${file}`;
  return [(section) => section[key] === undefined || section[file] === undefined, { message, path: [file] }];
}
