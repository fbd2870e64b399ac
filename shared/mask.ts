/** Takes secrets out of text. */

/** Shorter ones would take ordinary words apart, and hide nothing that could not be guessed. */
const minLength = 4;

/** @returns what replaces each secret, and each line of one that has several, by `***`. */
export function createMask(secrets: readonly string[]): (text: string) => string {
  const parts = secrets.flatMap((secret) => [secret, ...secret.split(/\r?\n/)]);
  // The longest first: one secret may be part of another.
  const all = [...new Set(parts.map((part) => part.trim()))]
    .filter((part) => part.length >= minLength)
    .toSorted((a, b) => b.length - a.length);
  return (text) => all.reduce((masked, secret) => masked.replaceAll(secret, '***'), text);
}
