/** An error as it is kept with a version or a build, and shown to people. */
import { type AppError, errorTable, type FailurePhase } from '../../shared/errors.ts';
import type { Failure } from '../../shared/protocol/views.ts';

/** @param phase of an error that names none. */
export function failureOf(error: AppError, phase: FailurePhase): Failure {
  return {
    code: error.code,
    phase: error.phase ?? phase,
    owner: errorTable[error.code].owner,
    message: error.message,
    logs: linesOf(error),
    at: new Date().toISOString(),
  };
}

/** The last log lines that came with an error. */
export function linesOf({ data }: AppError): string[] {
  const logs = data?.['logs'];
  return Array.isArray(logs) ? logs.map(String) : [];
}
