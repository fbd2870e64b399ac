/** Requests that are refused before they are calls: by the parser, for their method, or for their head. */
import { AppError } from '../shared/errors.ts';
import type { ProblemOptions } from '../shared/problem.ts';
import type { Fault } from './http1/field-parser.ts';

/** What no app gets: CONNECT asks for a tunnel, TRACE echoes the credentials of its request (RFC 9110 §9.3.6, §9.3.8). */
const refusedMethods: ReadonlySet<string> = new Set(['CONNECT', 'TRACE']);

/** @returns how to refuse the method, if it is refused. */
export function refusedMethod(
  method: string,
): { readonly error: AppError; readonly options: ProblemOptions } | undefined {
  if (!refusedMethods.has(method)) return undefined;
  return {
    error: new AppError('request_invalid', `The request is refused: the method ${method} is not taken.`),
    // RFC 9110 §15.5.6 wants the list.
    options: { status: 405, headers: { Allow: 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS' } },
  };
}

/** What a parser found, as an error. */
export function faultError({ status, what }: Fault): AppError {
  const code = status === 431 ? 'headers_too_large' : 'request_invalid';
  return new AppError(code, `The request is refused: ${what}.`);
}
