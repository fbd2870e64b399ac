/** Errors that the router answers with: to requests that do not become calls, and to calls that no app answers. */
import { AppError } from '../../shared/errors.ts';
import { rawAnswer, toProblem, type ProblemOptions } from '../../shared/problem.ts';
import type { Fault } from '../message/field-parser.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import type { RequestHead } from '../message/request-head.ts';

/** Why a request does not become a call. */
export class Refusal {
  readonly error: AppError;
  readonly options: ProblemOptions;

  constructor(error: AppError, options: ProblemOptions = {}) {
    this.error = error;
    this.options = options;
  }

  get status(): number {
    return this.options.status ?? this.error.status;
  }
}

/**
 * Methods that no app gets: CONNECT asks for a tunnel, TRACE echoes the credentials of its request (RFC 9110 §9.3.6, §9.3.8).
 * In any case of letters, because there are apps that ignore it.
 */
const refusedMethods = /^(?:connect|trace)$/i;

export function refusedMethod(method: string): Refusal | undefined {
  if (method === 'GET' || !refusedMethods.test(method)) return undefined;
  return new Refusal(new AppError('request_invalid', `The request is refused: the router does not accept ${method}.`), {
    status: 405,
    // RFC 9110 §15.5.6 requires the list.
    headers: { Allow: 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS' },
  });
}

/** @param fault what a parser found; undefined when it found no HTTP at all. */
export function faultRefusal({ status, what }: Fault = { status: 400, what: 'not valid HTTP' }): Refusal {
  return new Refusal(faultError({ status, what }), { status });
}

export function faultError({ status, what }: Fault): AppError {
  const code = status === 431 ? 'headers_too_large' : 'request_invalid';
  return new AppError(code, `The request is refused: ${what}.`);
}

/** @param message names the limit; by default what was read ahead of all clients. */
export function overloaded(message = 'This router is overloaded; try again.'): AppError {
  return new AppError('router_overloaded', message, { retryAfterMs: 2_000 });
}

/** Writes the answer to a call for HTTP/1.1. @returns the bytes of its body. */
export function writeProblem(writer: HeadWriter, head: RequestHead, error: AppError, options: ProblemOptions): number {
  const requestId = head.requestId;
  const headers = { 'X-Request-Id': requestId, ...options.headers };
  const problem = toProblem(error, { ...options, instance: requestId, headers });
  const body = head.method === 'HEAD' ? '' : problem.body;
  writer.utf8(rawAnswer({ ...problem, body }));
  return Buffer.byteLength(body);
}

export function writeRefusal(writer: HeadWriter, { error, options }: Refusal): void {
  writer.utf8(rawAnswer(toProblem(error, { ...options, headers: { Connection: 'close', ...options.headers } })));
}
