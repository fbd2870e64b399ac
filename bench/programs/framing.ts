/** Finds the end of an HTTP/1.1 message (RFC 9112 §6.3) cheaply; only for messages of the load and the backend. */

/** @param text one message at most, latin1. @returns whether it is whole. */
export function isWhole(text: string): boolean {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd < 0) return false;
  const head = text.slice(0, headEnd);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length !== undefined) return text.length >= headEnd + 4 + Number(length);
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) return text.indexOf('\r\n0\r\n\r\n', headEnd + 2) >= 0;
  return true;
}
