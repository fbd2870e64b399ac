/** A failed build as it is told and kept: with the last lines, unless the builder gave some. */
import { AppError, toAppError, type FailurePhase } from '../../shared/errors.ts';
import { logLinesOf } from '../store/records.ts';
import type { BuildLog } from './build-log.ts';

const toldLines = 50;

export function withLines(error: AppError, log: Pick<BuildLog, 'last'>): AppError {
  const { code, message, phase = 'build', retryAfterMs, data } = error;
  const given = logLinesOf(error);
  const logs = given.length > 0 ? given.slice(-toldLines) : log.last(toldLines);
  return new AppError(code, message, {
    cause: error,
    phase,
    data: { ...data, logs },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** @throws what the work throws, with the phase where it says none itself. */
export async function inPhase<T>(phase: FailurePhase, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.phase !== undefined || error.code === 'cancelled') throw error;
    const { code, message, retryAfterMs, data } = error;
    throw new AppError(code, message, {
      cause: error,
      phase,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(data === undefined ? {} : { data }),
    });
  }
}
