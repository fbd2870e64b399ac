/** Reads a TOML configuration: text, then environment over it, checked by one zod schema, every problem told at once. */
import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { AppError } from '../errors.ts';

export interface LoadConfigOptions<S extends z.ZodType> {
  readonly schema: S;
  readonly text: string;
  /** What messages call the text. */
  readonly file: string;
  /** `HOLDFAST_A_B` is the key a.b, `HOLDFAST_A_B_FILE` names a file that holds it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile?: (path: string) => string;
}

/** @throws AppError config_invalid, with one line a problem: `file:line:column: key: what is wrong: what to do`. */
export function loadConfig<S extends z.ZodType>(options: LoadConfigOptions<S>): z.output<S> {
  const readFile = options.readFile ?? ((path: string): string => readFileSync(path, 'utf8'));
  void readFile;
  const result = options.schema.safeParse(parse(options.text));
  if (result.success) return result.data;
  throw new AppError('config_invalid', `${options.file}: ${z.prettifyError(result.error)}`);
}
