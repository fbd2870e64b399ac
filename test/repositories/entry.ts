/** The form of a small repository that is really installed, built, started and called. */
import type { AppSpecInput } from '../../shared/protocol/app-spec.ts';

export interface Entry {
  /** What it is, as a phrase: `Flask in application.py`. Unique. */
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  /** Keys of the app besides its name and source. */
  readonly keys?: Partial<Pick<AppSpecInput, 'build' | 'command' | 'env' | 'health_url'>>;
  readonly answers: readonly Answer[];
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
