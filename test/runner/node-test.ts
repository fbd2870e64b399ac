/** Runs one part with `node --import tsx --test` and reads the counts of its summary. */
import { globSync } from 'node:fs';
import { run } from './command.ts';
import type { Part } from './parts.ts';

export interface PartResult {
  readonly part: string;
  readonly tests: number;
  readonly pass: number;
  readonly fail: number;
  readonly cancelled: number;
  readonly skipped: number;
  readonly todo: number;
  /** Exit code of `node --test`, which also fails when a file cannot be loaded. */
  readonly exitCode: number;
  readonly elapsedMs: number;
}

const counters = ['tests', 'pass', 'fail', 'cancelled', 'skipped', 'todo'] as const;

/** @returns undefined when the part has no files. */
export async function runPart(
  part: Part,
  options: { readonly env: NodeJS.ProcessEnv; readonly signal: AbortSignal },
): Promise<PartResult | undefined> {
  const files = part.files.flatMap((pattern) => globSync(pattern)).toSorted();
  if (files.length === 0) return undefined;
  const beganMs = performance.now();
  let tail = '';
  const args = [
    // A URL, because processes that a test starts in other folders may inherit it.
    `--import=${import.meta.resolve('tsx')}`,
    '--test',
    '--test-reporter=spec',
    `--test-concurrency=${part.concurrency}`,
    `--test-timeout=${part.timeoutSecs * 1_000}`,
    ...files,
  ];
  const exitCode = await run(process.execPath, args, {
    ...options,
    onOutput: (text) => {
      process.stdout.write(text);
      tail = (tail + text).slice(-65_536);
    },
  });
  const counts = Object.fromEntries(counters.map((counter) => [counter, lastCount(tail, counter)]));
  return {
    part: part.name,
    ...(counts as Record<(typeof counters)[number], number>),
    exitCode,
    elapsedMs: performance.now() - beganMs,
  };
}

/** Reads a counter from the summary of the spec reporter, such as `ℹ pass 12`. The last match counts: a test may print such a line too. */
function lastCount(text: string, counter: string): number {
  return Number([...text.matchAll(new RegExp(`^ℹ ${counter} (\\d+)$`, 'gm'))].at(-1)?.[1] ?? 0);
}

/** Whether something ran, nothing failed and nothing was skipped. */
export function passed(result: PartResult): boolean {
  return result.exitCode === 0 && result.tests > 0 && result.pass === result.tests;
}
