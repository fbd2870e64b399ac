/** A small repository with the plan that comes out. Where the app can be run, `call` says what it answers. */
import type { PresetName } from '../../../protocol/build-settings.ts';
import type { PlanSettings } from '../../plan.ts';

export interface Repository {
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly settings?: Partial<PlanSettings>;
  readonly expected: Expected | { readonly refused: RegExp };
  /** How it is called once it runs; only for repositories that need nothing beside a package registry. */
  readonly call?: { readonly path: string; readonly status: number; readonly text: string };
}

interface Expected {
  readonly preset: PresetName;
  /** The command as text, or `site FOLDER…`. */
  readonly start: string;
  /** The base image of the build stage, or of the last one if there is no other. */
  readonly image?: string;
  /** A part of the summary: `pnpm install`. */
  readonly steps?: string;
  readonly dir?: string;
}

export const json = (value: unknown): string => JSON.stringify(value);
