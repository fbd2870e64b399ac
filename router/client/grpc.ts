/** Errors of the router for clients that speak gRPC, in the terms of gRPC. */
import type { AppError } from '../../shared/errors.ts';
import type { Problem } from '../../shared/problem.ts';
import type { RawFields } from '../message/h2-heads.ts';

/** Status of gRPC by status of HTTP: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md */
const codes: ReadonlyMap<number, number> = new Map([
  [400, 13],
  [401, 16],
  [403, 7],
  [404, 12],
  [429, 14],
  [502, 14],
  [503, 14],
  [504, 14],
  // Not in that table, which makes them UNKNOWN: too late is DEADLINE_EXCEEDED, too much of something RESOURCE_EXHAUSTED.
  [408, 4],
  [413, 8],
  [431, 8],
]);
const unknown = 2;

export function isGrpc(raw: RawFields): boolean {
  for (let index = 0; index < raw.length; index += 2) {
    if (raw[index] === 'content-type') return /^application\/grpc(?:$|[+;])/.test(raw[index + 1] as string);
  }
  return false;
}

/**
 * Puts the status into the fields, which are all of the answer; otherwise a client would show the status of HTTP alone
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Trailers-Only).
 */
export function grpcRefusal(error: AppError, problem: Problem): { readonly fields: string[]; readonly body: string } {
  const { detail } = JSON.parse(problem.body) as { readonly detail: string };
  const fields = [
    ':status',
    '200',
    'content-type',
    'application/grpc',
    'grpc-status',
    String(codes.get(problem.status) ?? unknown),
    'grpc-message',
    percentEncoded(`${error.code}: ${detail}`),
  ];
  for (const [name, value] of Object.entries(problem.headers)) {
    if (name === 'X-Request-Id' || name === 'Retry-After') fields.push(name.toLowerCase(), value);
  }
  return { fields, body: '' };
}

/** Encodes all but printable ASCII, and the percent sign. */
function percentEncoded(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]/gu, (char) => encodeURIComponent(char));
}
