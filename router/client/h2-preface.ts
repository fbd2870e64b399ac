/** What a client of HTTP/2 says first, RFC 9113 §3.4. */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** The method, which no request of HTTP/1.1 has. */
const leastBytes = 4;

/** @param first bytes of a connection. @returns whether they are its beginning, or more. */
export function isPreface(first: Buffer): boolean {
  const length = Math.min(first.length, preface.length);
  return length >= leastBytes && first.compare(preface, 0, length, 0, length) === 0;
}
