/** Masks secrets in text. */

/** Masking shorter secrets would break up ordinary words, and would not hide anything that cannot be guessed. */
const minLength = 4;

/** @returns a function that replaces each secret, and each line of a multi-line secret, with `***`. */
export function createMask(secrets: readonly string[]): (text: string) => string {
  const parts = secrets.flatMap((secret) => [secret, ...secret.split(/\r?\n/)]);
  // Longer secrets are replaced first, since one secret may be part of another.
  const all = [...new Set(parts.map((part) => part.trim()))]
    .filter((part) => part.length >= minLength)
    .toSorted((a, b) => b.length - a.length);
  return (text) => all.reduce((masked, secret) => masked.replaceAll(secret, '***'), text);
}
