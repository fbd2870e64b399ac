/**
 * Text that Postgres and Kubernetes can hold: without U+0000 and without unpaired surrogates, which `text`, `jsonb` and the environment of a
 * process refuse. What a caller sends is refused at the door; what a program printed is replaced.
 */

/** Returns the path of the first string or key that cannot be stored, such as `['apps', '0', 'secrets', 'KEY']`; undefined if there is none. */
export function findUnstorable(value: unknown): readonly string[] | undefined {
  // A list instead of a recursion: a frame can be nested deeper than the stack.
  const waiting: { readonly value: unknown; readonly path: Path | undefined }[] = [{ value, path: undefined }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { value: found, path } = next;
    if (typeof found === 'string' && !isStorable(found)) return keysOf(path);
    if (typeof found !== 'object' || found === null) continue;
    for (const [key, inner] of Object.entries(found).toReversed()) {
      const below = { key, above: path };
      if (!isStorable(key)) return keysOf(below);
      waiting.push({ value: inner, path: below });
    }
  }
  return undefined;
}

interface Path {
  readonly key: string;
  readonly above: Path | undefined;
}

function keysOf(path: Path | undefined): string[] {
  const keys: string[] = [];
  for (let at = path; at !== undefined; at = at.above) keys.unshift(storable(at.key));
  return keys;
}

function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

/** Replaces what cannot be stored by U+FFFD. */
export function storable(text: string): string {
  return isStorable(text) ? text : text.toWellFormed().replaceAll('\0', '\uFFFD');
}

/** `JSON.stringify` for a `jsonb` column: what cannot be stored in a string is replaced. */
export function storableJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'string' ? storable(inner) : inner));
}
