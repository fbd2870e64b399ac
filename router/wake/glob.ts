/** Patterns in which `*` matches any text. They are not regular expressions, because clients choose the text that is matched. */

export type Glob = (text: string) => boolean;

/** Compiles a pattern. A match looks for its pieces one after the other without backtracking, in the time of one pass over the text. */
export function glob(pattern: string): Glob {
  const [first = '', ...pieces] = pattern.split('*');
  const last = pieces.pop();
  if (last === undefined) return (text) => text === first;
  const between = pieces.filter((piece) => piece !== '');
  return (text) => {
    const end = text.length - last.length;
    let pos = first.length;
    if (end < pos || !text.startsWith(first) || !text.endsWith(last)) return false;
    for (const piece of between) {
      const at = text.indexOf(piece, pos);
      if (at < 0) return false;
      pos = at + piece.length;
    }
    return pos <= end;
  };
}
