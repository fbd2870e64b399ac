/** Tables of where each byte is allowed in a message of HTTP/1.1: RFC 9110 §5.6.2 and §5.5, RFC 9112 §3.2 and §7.1. */

export const tab = 0x09;
export const lf = 0x0a;
export const cr = 0x0d;
export const space = 0x20;
export const colon = 0x3a;
export const comma = 0x2c;

/** The lower case of each byte that is allowed in a token; 0 for every other byte. */
export const tokenByte: Uint8Array = tableOf((byte) => {
  const char = String.fromCharCode(byte);
  return /[A-Za-z0-9!#$%&'*+\-.^_`|~]/.test(char) ? char.toLowerCase().charCodeAt(0) : 0;
});

/** 1 for each byte that is allowed in a field value: visible, space, tab, and above ASCII, but not NUL, CR, LF or DEL. */
export const valueByte: Uint8Array = tableOf((byte) => (byte === tab || (byte >= 0x20 && byte !== 0x7f) ? 1 : 0));

/**
 * 1 for each byte that is allowed in a request target: visible ASCII, which is wider than RFC 3986 by the likes of `|`, because
 * clients send them. Not `#`: no client sends a fragment, and a reader that sees one sees another path.
 */
export const targetByte: Uint8Array = tableOf((byte) => (byte > 0x20 && byte < 0x7f && byte !== 0x23 ? 1 : 0));

/** The value of each hexadecimal digit; 255 for every other byte. */
export const hexValue: Uint8Array = tableOf((byte) => {
  const digit = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(digit) ? 255 : digit;
});

function tableOf(valueOf: (byte: number) => number): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => valueOf(byte));
}
