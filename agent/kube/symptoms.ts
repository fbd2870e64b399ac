/** Symptoms of pods may pass: each has a time that it may last, counted from when it was first seen. */
import type { ErrorCode } from '../../shared/error-codes.ts';
import type { FailurePhase } from '../../shared/errors.ts';

export interface Symptom {
  /** The same for the same fault, however it is worded. */
  readonly key: string;
  readonly graceMs: number;
  readonly code: ErrorCode;
  readonly phase: FailurePhase;
  readonly message: string;
}

/** When each symptom was first seen, by key. */
export type SymptomTimes = ReadonlyMap<string, number>;

export type Judgement<S extends Symptom> = (
  | { readonly kind: 'failed'; readonly symptom: S }
  /** Nothing has lasted too long yet. Look again after this time at the latest. */
  | { readonly kind: 'waiting'; readonly againMs: number }
) & {
  /** Pass these times to the next look. */
  readonly since: SymptomTimes;
};

/** Three attempts of the kubelet (at 0, 10 and 30 s): a registry that is away for a moment does no harm. */
export const pullGraceMs = 35_000;
/** Faults that the next sync of a controller or kubelet may remove. */
export const passingGraceMs = 10_000;

const maxLookAgainMs = 30_000;

/** Judges by the current symptoms, the most specific first: the first one that has lasted too long is the failure. */
export function judge<S extends Symptom>(symptoms: readonly S[], before: SymptomTimes, nowMs: number): Judgement<S> {
  const since = new Map(symptoms.map(({ key }) => [key, before.get(key) ?? nowMs]));
  const leftMs = (symptom: S): number => symptom.graceMs - (nowMs - (since.get(symptom.key) ?? nowMs));
  const symptom = symptoms.find((each) => leftMs(each) <= 0);
  if (symptom !== undefined) return { kind: 'failed', symptom, since };
  return { kind: 'waiting', againMs: Math.min(maxLookAgainMs, ...symptoms.map(leftMs)), since };
}
