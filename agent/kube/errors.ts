/** What goes wrong between the agent and the API server. */
import { AppError, toAppError } from '../../shared/errors.ts';
import { cancellation } from '../../shared/wait/abort.ts';

/** A refusal: what the `Status` object of the API server says. */
export class KubeApiError extends Error {
  override readonly name = 'KubeApiError';
  readonly status: number;
  /** One of the API server, such as `NotFound`, `AlreadyExists`, `Conflict`, `Forbidden`, `Invalid`, `Expired`. */
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export function isStatus(error: unknown, ...statuses: readonly number[]): boolean {
  return error instanceof KubeApiError && statuses.includes(error.status);
}

/** Whether the same request may succeed later: no answer came, or the API server is busy. */
export function isPassing(error: unknown): boolean {
  if (error instanceof AppError) return error.code === 'platform_error';
  return isStatus(error, 429, 500, 502, 503, 504);
}

/** @param text the body of an answer that is not 2xx: a `Status` object, or what a proxy before the API server says. */
export function refusal(status: number, text: string): KubeApiError {
  let reason = '';
  let message = text.slice(0, 1_000);
  try {
    const parsed = JSON.parse(text) as { readonly reason?: string; readonly message?: string };
    reason = parsed.reason ?? '';
    message = parsed.message ?? message;
  } catch {
    // No JSON: the text itself is the message.
  }
  return new KubeApiError(status, reason, message === '' ? `status ${String(status)}` : message);
}

/** Why there is no answer: the refusal itself, cancelled by the caller, or platform_error. */
export function described(error: unknown, signal: AbortSignal): Error {
  if (error instanceof KubeApiError || error instanceof AppError) return error;
  if (signal.aborted) return cancellation(signal);
  const message = toAppError(error).message;
  return new AppError('platform_error', `the API server cannot be reached: ${message}`, { cause: error });
}
