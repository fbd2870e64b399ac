/** Patterns in which `*` is any text and everything else is itself. No regular expression: a caller chooses what is matched. */

export type Glob = (text: string) => boolean;

/** Its pieces are looked for one behind the other and never again, so that a match costs no more than the length of the text. */
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
