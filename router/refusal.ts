/** Requests that are refused before they are calls: by the parser, for their method, or for their head. */
import { AppError } from '../shared/errors.ts';
import { toProblem, type Problem, type ProblemOptions } from '../shared/problem.ts';

/** What no app gets: CONNECT asks for a tunnel, TRACE echoes the credentials of its request (RFC 9110 §9.3.6, §9.3.8). */
const refusedMethods: ReadonlySet<string> = new Set(['CONNECT', 'TRACE']);

/** @returns how to refuse the method, if it is refused. */
export function refusedMethod(
  method: string | undefined,
): { readonly error: AppError; readonly options: ProblemOptions } | undefined {
  if (method === undefined || !refusedMethods.has(method)) return undefined;
  return {
    error: new AppError('request_invalid', `The request is refused: the method ${method} is not taken.`),
    // RFC 9110 §15.5.6 wants the list.
    options: { status: 405, headers: { Connection: 'close', Allow: 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS' } },
  };
}

/** @param code of the error that node gives with `clientError`. */
export function parserRefusal(code = ''): Problem {
  return toProblem(parserError(code), { headers: { Connection: 'close' } });
}

function parserError(code: string): AppError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new AppError('headers_too_large', 'The header section is over the limit.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new AppError('request_timeout', 'The request head did not arrive in time.');
    default:
      return new AppError('request_invalid', 'The request is not valid HTTP.');
  }
}
