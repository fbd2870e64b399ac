/** What is wrong with pods may pass: each symptom has a time that it may last, from when it was first seen. */

export interface TimedSymptom {
  /** The same for the same fault, however it is worded. */
  readonly key: string;
  readonly graceMs: number;
}

/** When each symptom was first seen, by key. */
export type SymptomTimes = ReadonlyMap<string, number>;

const maxLookAgainMs = 30_000;

/** @param symptoms the most telling first. @returns the first that has lasted too long, and when to look again where none has. */
export function weigh<S extends TimedSymptom>(
  symptoms: readonly S[],
  since: SymptomTimes,
  nowMs: number,
): { readonly worst: S | undefined; readonly since: SymptomTimes; readonly againMs: number } {
  const times = new Map(symptoms.map(({ key }) => [key, since.get(key) ?? nowMs]));
  const leftMs = (symptom: S): number => symptom.graceMs - (nowMs - (times.get(symptom.key) ?? nowMs));
  return {
    worst: symptoms.find((symptom) => leftMs(symptom) <= 0),
    since: times,
    againMs: Math.min(maxLookAgainMs, ...symptoms.map(leftMs)),
  };
}
