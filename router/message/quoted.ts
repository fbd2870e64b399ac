/** Quotes a part of a message in an error, where anybody may have written it. */

/** Longer parts are truncated. */
const maxQuotedBytes = 64;

/** @returns the bytes in double quotes, printable, with a bound. */
export function quoted(bytes: Uint8Array, start: number, end: number): string {
  const stop = Math.min(end, start + maxQuotedBytes);
  const text = Buffer.from(bytes.subarray(start, stop)).toString('latin1');
  const safe = text.replace(/["\\]|[^ -~]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return `"${safe}${stop < end ? '…' : ''}"`;
}
