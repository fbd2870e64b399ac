/** The call for which a router asks that an app be started, so that events can say who woke it. */
import { z } from 'zod';

/** One line of printable ASCII: callers choose it, and it is shown in terminals. */
const line = (max: number): z.ZodString =>
  z
    .string()
    .max(max)
    .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII');

export const wakeCause = z.strictObject({
  /** Name of the router. */
  router: line(253),
  method: line(32),
  host: line(255),
  /** Without query, which may carry what must not be kept. */
  path: line(256),
  /** `''` where there is none. */
  userAgent: line(256),
  /** Address of the client, as far as trusted proxies say. */
  client: line(64),
  requestId: line(128),
});
export type WakeCause = z.output<typeof wakeCause>;

/** What came from a caller, as a `line` of at most `max`: what is not printable becomes `?`, what is cut ends with `...`. */
export function printable(text: string, max: number): string {
  const cut = text.length > max ? `${text.slice(0, max - 3)}...` : text;
  return cut.replace(/[^\x20-\x7e]/g, '?');
}
