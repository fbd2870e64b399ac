/** The call for which a router asks the agent to start an app, so that events can show what woke it. */
import { z } from 'zod';

/** One line of printable ASCII: callers choose the text, and terminals show it. */
const line = (max: number): z.ZodString =>
  z
    .string()
    .max(max)
    .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII');

export const wakeCause = z.strictObject({
  router: line(253),
  method: line(32),
  host: line(255),
  /** The path without the query, which may contain data that must not be stored. */
  path: line(256),
  /** The User-Agent header; `''` if there is none. */
  userAgent: line(256),
  /** The address of the client, as reported by trusted proxies. */
  client: line(64),
  requestId: line(128),
});
export type WakeCause = z.output<typeof wakeCause>;

/** Makes a caller's text a `line` of at most `max`: other characters become `?`, a cut text ends with `...`. */
export function printable(text: string, max: number): string {
  const cut = text.length > max ? `${text.slice(0, max - 3)}...` : text;
  return cut.replace(/[^\x20-\x7e]/g, '?');
}
