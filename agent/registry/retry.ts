/** How requests to registries and credential services are tried again: after connection errors, 5xx and 429. */

export const retryPolicy = { backoff: { minMs: 100, maxMs: 1_000 }, attempts: 4 } as const;

export function isPassingStatus(status: number): boolean {
  return status === 429 || status >= 500;
}

/** Reads Retry-After (RFC 9110 §10.2.3) in seconds; a date is ignored. */
export function retryAfterMs(header: string): number | undefined {
  return /^\d{1,6}$/.test(header) ? Number(header) * 1_000 : undefined;
}
