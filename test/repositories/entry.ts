/** The form of a small repository that is really installed, built, started and called. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError } from '../../shared/errors.ts';

export interface Entry {
  /** What it is, as a phrase: `Flask in application.py`. Unique. */
  readonly name: string;
  /** Settings are those of a holdfast.toml among them. */
  readonly files: Readonly<Record<string, string>>;
  readonly answers: readonly Answer[];
  /** Whether it is built as an image in the cluster, too. */
  readonly image?: boolean;
}

export interface Answer {
  readonly path: string;
  /** Default: 200. */
  readonly status?: number;
  /** What the body has in it. */
  readonly text?: string;
}

/** The answer to `GET /`. */
export const root = (text: string): readonly Answer[] => [{ path: '/', text }];

export const json = (value: unknown): string => JSON.stringify(value, undefined, 2);

export async function writeFiles(folder: string, files: Entry['files']): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
}

/** `FastAPI in api.py` → `fastapi-in-api-py`, within the length of an app's name. */
export function appNameOf(name: string): string {
  const plain = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  return plain.slice(0, 40).replaceAll(/^-|-$/g, '');
}

/** The error with the last lines of the log. */
export function failureText(error: unknown): string {
  if (!(error instanceof AppError)) return String(error);
  const logs: unknown = error.data?.['logs'];
  return [`${error.code}: ${error.message}`, ...(Array.isArray(logs) ? logs.map(String) : [])].join('\n');
}
