/** The form of a small repository in the table of plans. */
import type { PlanRequest, PlanSettings } from '../plan.ts';

export interface Repository {
  /** What it is, as a phrase: `Flask in application.py`. */
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly settings?: Partial<PlanSettings>;
  readonly route?: PlanRequest['route'];
  readonly expected: ExpectedPlan;
  /** If it can be installed, started and called: the path, and what the answer has in it. */
  readonly answers?: { readonly path: string; readonly text: string };
}

export interface ExpectedPlan {
  /** The error instead of a plan. */
  readonly error?: RegExp;
  readonly title?: readonly string[];
  /** The base images of the build and of the app; `undefined` for no build. */
  readonly images?: readonly [build: string | undefined, run: string];
  /** The packages of the distribution for the build, and at run time. */
  readonly packages?: readonly [build: readonly string[], run: readonly string[]];
  /** The commands of the image, in a shell, without those that only the process platform has. */
  readonly commands?: readonly string[];
  /** The start, without the shell around it. */
  readonly start?: string;
  /** The folders of a site. */
  readonly site?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly manifests?: readonly string[] | 'tree';
  readonly note?: RegExp;
}
