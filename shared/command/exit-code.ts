/** The exit codes of commands. docs/cli.md documents them for scripts. */
import type { ErrorCode } from '../error-codes.ts';
import type { AppError } from '../errors.ts';

export const exitCodes = {
  ok: 0,
  error: 1,
  usage: 2,
  notFound: 3,
  unauthorised: 4,
  unreachable: 5,
  interrupted: 130,
} as const;

export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const byCode: Partial<Record<ErrorCode, number>> = {
  app_invalid: exitCodes.usage,
  config_invalid: exitCodes.usage,
  invalid_params: exitCodes.usage,
  route_conflict: exitCodes.usage,
  source_invalid: exitCodes.usage,
  source_unsupported: exitCodes.usage,
  app_not_found: exitCodes.notFound,
  version_not_found: exitCodes.notFound,
  build_not_found: exitCodes.notFound,
  unauthenticated: exitCodes.unauthorised,
  forbidden: exitCodes.unauthorised,
  link_lost: exitCodes.unreachable,
  not_leader: exitCodes.unreachable,
  platform_unavailable: exitCodes.unreachable,
};

export function exitCodeOf(error: AppError): number {
  return byCode[error.code] ?? exitCodes.error;
}
