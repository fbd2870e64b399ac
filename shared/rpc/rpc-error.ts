/**
 * Converts between AppErrors and JSON-RPC error objects. The numbers are those that JSON-RPC 2.0 §5.1 reserves, and
 * −32000 for everything else; `data.code` identifies the error, with a code from the table in shared/error-codes.ts.
 */
import { z } from 'zod';
import { errorTable, isErrorCode, type ErrorCode } from '../error-codes.ts';
import { AppError, toAppError, type FailurePhase } from '../errors.ts';

const phases = ['declare', 'source', 'build', 'pull', 'schedule', 'start', 'serve'] as const satisfies FailurePhase[];

const numbers: Partial<Record<ErrorCode, number>> = {
  parse_error: -32_700,
  invalid_request: -32_600,
  method_not_found: -32_601,
  invalid_params: -32_602,
  internal: -32_603,
};
const otherNumber = -32_000;

export function rpcErrorNumber(code: ErrorCode): number {
  return numbers[code] ?? otherNumber;
}

/** The message of an internal error is replaced, since it may contain hosts, paths or values; the log has it. */
export function toRpcError(thrown: unknown): z.input<typeof errorObject> {
  const { code, message, retryable, owner, phase, retryAfterMs, data } = toAppError(thrown);
  return {
    code: rpcErrorNumber(code),
    message: code === 'internal' ? errorTable.internal.help : message,
    data: { code, retryable, owner, phase, retryAfterMs, details: data },
  };
}

/** Accepts the error object of any JSON-RPC peer; only our own errors carry `data` that is understood. */
export const errorObject = z.looseObject({ code: z.number(), message: z.string(), data: z.unknown().optional() });

const ownData = z.looseObject({
  code: z.string().refine(isErrorCode),
  phase: z.enum(phases).optional().catch(undefined),
  retryAfterMs: z.number().nonnegative().optional().catch(undefined),
  details: z.record(z.string(), z.unknown()).optional().catch(undefined),
});

export function fromRpcError(error: z.output<typeof errorObject>): AppError {
  const own = ownData.safeParse(error.data);
  if (!own.success) return new AppError(codeOfNumber(error.code), error.message);
  const { code, phase, retryAfterMs, details } = own.data;
  return new AppError(code, error.message, { phase, retryAfterMs, data: details });
}

function codeOfNumber(number: number): ErrorCode {
  for (const code of Object.keys(errorTable)) {
    if (isErrorCode(code) && numbers[code] === number) return code;
  }
  return 'internal';
}
