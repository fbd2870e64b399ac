/**
 * Converts an `AppError` to an HTTP response in problem+json (RFC 9457). The router uses it for calls to apps, the
 * agent for its own HTTP endpoints. The error's `data` (logs, field paths) is never included.
 */
import { STATUS_CODES, type ServerResponse } from 'node:http';
import { errorTable, type ErrorOwner } from './error-codes.ts';
import type { AppError } from './errors.ts';

export interface ProblemOptions {
  /** The id of the request, as in the logs. */
  readonly instance?: string;
  /** Overrides the status of the code: a failed version is 502 to a caller of the app, whatever caused the failure. */
  readonly status?: number;
  readonly owner?: ErrorOwner;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Problem {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** @returns the status, the headers (with Content-Length, and Retry-After if the error has it) and the body. */
export function toProblem(error: AppError, options: ProblemOptions = {}): Problem {
  const status = options.status ?? error.status;
  const body = JSON.stringify({
    type: `urn:holdfast:error:${error.code}`,
    title: titleOf(error.code),
    status,
    // The message of an internal error may contain anything, so only the log has it.
    detail: error.code === 'internal' ? errorTable.internal.help : error.message,
    code: error.code,
    phase: error.phase,
    owner: options.owner ?? error.owner,
    instance: options.instance,
  });
  const headers: Record<string, string> = {
    'Content-Type': 'application/problem+json',
    'Content-Length': String(Buffer.byteLength(body)),
    'Cache-Control': 'no-store',
    ...options.headers,
  };
  if (error.retryAfterMs !== undefined) {
    // RFC 9110 §10.2.3: Retry-After is a whole number of seconds.
    headers['Retry-After'] = String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000)));
  }
  if (status === 401) headers['WWW-Authenticate'] = 'Bearer';
  return { status, headers, body };
}

/** Sends the problem as the response, without a body for HEAD. The response must not have started. */
export function sendProblem(response: ServerResponse, error: AppError, options: ProblemOptions = {}): void {
  const problem = toProblem(error, options);
  response.writeHead(problem.status, problem.headers);
  response.end(response.req.method === 'HEAD' ? undefined : problem.body);
}

/** Formats a complete HTTP/1.1 response, for a socket without a response object. */
export function rawAnswer({ status, headers, body }: Problem): string {
  const fields = Object.entries({ Date: new Date().toUTCString(), ...headers });
  const head = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${head}\r\n${body}`;
}

function titleOf(code: string): string {
  const words = code.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
