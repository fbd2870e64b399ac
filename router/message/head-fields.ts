/** Single fields of a request head, for what is seldom asked. */
import { fieldStride } from './field-parser.ts';
import type { RequestParser } from './request-parser.ts';
import { parsedAgain, type RequestHead } from './request-head.ts';

/**
 * @param name in lower case.
 * @returns the value, of several joined by a comma (RFC 9110 §5.3); undefined where there is none.
 */
export function fieldOf(head: RequestHead, parser: RequestParser, name: string): string | undefined {
  const { at, count } = parsedAgain(parser, head).fields;
  const { bytes } = head;
  let found: string | undefined;
  for (let index = 0, base = 0; index < count; index += 1, base += fieldStride) {
    const start = at[base] as number;
    const end = at[base + 1] as number;
    if (end - start !== name.length || bytes.toString('latin1', start, end).toLowerCase() !== name) continue;
    const value = bytes.toString('latin1', at[base + 2], at[base + 3]);
    found = found === undefined ? value : `${found}, ${value}`;
  }
  return found;
}
