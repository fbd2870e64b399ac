/** What the router answers by itself: calls that get no answer of an app, and requests refused before they are calls. */
import { AppError } from '../../shared/errors.ts';
import { rawAnswer, toProblem, type ProblemOptions } from '../../shared/problem.ts';
import type { Fault } from '../message/field-parser.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import { requestIdOf, type RequestHead } from '../message/request-head.ts';

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

/** @param what is over its bound; by default what was read ahead of all clients. */
export function overloaded(what = 'This router is overloaded; try again.'): AppError {
  return new AppError('router_overloaded', what, { retryAfterMs: 2_000 });
}

/** Instead of an app's answer to the call. @returns the bytes of its body. */
export function writeProblem(writer: HeadWriter, head: RequestHead, error: AppError, options: ProblemOptions): number {
  const requestId = requestIdOf(head);
  const headers = { 'X-Request-Id': requestId, ...options.headers };
  const problem = toProblem(error, { ...options, instance: requestId, headers });
  const body = head.method === 'HEAD' ? '' : problem.body;
  writer.utf8(rawAnswer({ ...problem, body }));
  return Buffer.byteLength(body);
}

/** Before there was a call: the last answer of its connection. @returns its status. */
export function writeRefusal(writer: HeadWriter, error: AppError, options: ProblemOptions): number {
  const problem = toProblem(error, { ...options, headers: { Connection: 'close', ...options.headers } });
  writer.utf8(rawAnswer(problem));
  return problem.status;
}
