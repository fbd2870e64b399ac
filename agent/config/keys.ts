/** Kinds of keys that several sections of the configuration have. */
import { z } from 'zod';

/** An optional text, such as the path of a file. */
export function optionalText(description: string) {
  return z.string().min(1).optional().describe(description);
}

interface Range {
  readonly min: number;
  readonly max: number;
  readonly usual: number;
}

export function wholeNumber({ min, max, usual }: Range, description: string) {
  return z.int().min(min).max(max).default(usual).describe(description);
}

/** A number of seconds, which may have a fraction. */
export function seconds({ min, max, usual }: Range, description: string) {
  return z.number().min(min).max(max).default(usual).describe(description);
}

/** The arguments of `refine` that refuse a section with both a secret and a file that contains it. */
export function valueOrFile(
  key: string,
): [check: (section: Readonly<Record<string, unknown>>) => boolean, issue: { message: string; path: string[] }] {
  const file = `${key}_file`;
  const message = `is set too; set only one of ${key} and ${file}`;
  return [(section) => section[key] === undefined || section[file] === undefined, { message, path: [file] }];
}
