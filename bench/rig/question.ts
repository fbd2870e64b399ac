/** What main.ts gives to each question, and what it gets back. */
import type { Processes } from './processes.ts';

export interface Options {
  readonly rounds: number;
  /** Duration of one load in one round. */
  readonly seconds: number;
  /** Held at once. */
  readonly calls: number;
  readonly wakes: number;
  /** Duration of `storm`. */
  readonly minutes: number;
  /** Size of the large table of `routes`. */
  readonly routes: number;
  /** The folder of another checkout, whose router `forward` measures too; undefined: none. */
  readonly other: string | undefined;
  /** Workers of a further router in `forward`; 1: no such router. */
  readonly workers: number;
}

export interface Bench {
  readonly options: Options;
  /** Ended after the question, however that ended. */
  readonly processes: Processes;
  /** Temporary folder, removed after the question. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
  /** Runs after the question, the last one added first, before the processes are ended. */
  readonly after: (undo: () => Promise<unknown>) => void;
}

/** @returns Markdown for docs/benchmarks.md, or undefined when it cannot be asked here (and has said why). */
export type Question = (bench: Bench) => Promise<string | undefined>;
