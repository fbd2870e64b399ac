/**
 * The one error type of the project. Its codes are in `shared/error-codes.ts`. It becomes HTTP in `shared/problem.ts` and JSON-RPC in
 * `shared/rpc/rpc-error.ts`.
 */
import { errorTable, type ErrorCode, type ErrorOwner } from './error-codes.ts';

/** The step of making a version run in which something failed. */
export type FailurePhase = 'declare' | 'source' | 'build' | 'pull' | 'schedule' | 'start' | 'serve';

export interface AppErrorOptions {
  readonly cause?: unknown;
  readonly phase?: FailurePhase | undefined;
  /** Milliseconds after which a retry makes sense. It becomes Retry-After. */
  readonly retryAfterMs?: number | undefined;
  /** Structured detail, such as field paths or log lines. RPC clients get it; HTTP clients of apps never do. */
  readonly data?: Readonly<Record<string, unknown>> | undefined;
}

export interface AppErrorChanges extends AppErrorOptions {
  readonly code?: ErrorCode;
  readonly message?: string;
}

export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly phase: FailurePhase | undefined;
  readonly retryAfterMs: number | undefined;
  readonly data: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.phase = options.phase;
    this.retryAfterMs = options.retryAfterMs;
    this.data = options.data;
  }

  /** Returns a copy with the given fields changed. Its cause is this error, unless a cause is given. */
  with(changes: AppErrorChanges): AppError {
    const { code = this.code, message = this.message } = changes;
    const { phase, retryAfterMs, data } = this;
    return new AppError(code, message, { cause: this, phase, retryAfterMs, data, ...changes });
  }

  get status(): number {
    return errorTable[this.code].status;
  }

  get owner(): ErrorOwner {
    return errorTable[this.code].owner;
  }

  get retryable(): boolean {
    return errorTable[this.code].retryable === true;
  }
}

/** Returns anything thrown as an `AppError`. What is not one becomes `internal`, with the original as its cause. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new AppError('internal', message, { cause: error });
}
