/**
 * Finds the position of each key in a TOML text. The parser reports positions only for syntax errors; this second,
 * lenient pass over a text that has parsed lets all other errors name their line. It never throws and takes time linear
 * in the text.
 */

/** Line and column, both counted from 1. */
interface Position {
  readonly line: number;
  readonly column: number;
}

export interface TomlPositions {
  /** Returns the position of the key, or else of the nearest table above it in the text; undefined if there is none. */
  find(path: readonly PropertyKey[]): Position | undefined;
}

interface KeyNode {
  offset: number | undefined;
  readonly children: Map<string, KeyNode>;
  /** The number of `[[tables]]` of this name so far; 0 for anything else. */
  tables: number;
}

/** Deeper nesting gets no positions; the parser's own limit is lower. */
const maxDepth = 128;

export function tomlPositions(text: string): TomlPositions {
  const root = newNode(undefined);
  new Scanner(text, root).document();
  const lineStarts = lineStartsOf(text);
  return {
    find(path) {
      let node = root;
      let offset: number | undefined;
      for (const key of path) {
        const next = node.children.get(String(key));
        if (next === undefined) break;
        node = next;
        offset = node.offset ?? offset;
      }
      return offset === undefined ? undefined : positionOf(lineStarts, offset);
    },
  };
}

/** Scans the text once, from the offset `#at`. Every step advances it, so that no input can cause an endless loop. */
class Scanner {
  readonly #text: string;
  readonly #root: KeyNode;
  #at = 0;

  constructor(text: string, root: KeyNode) {
    this.#text = text;
    this.#root = root;
  }

  document(): void {
    let table = this.#root;
    while (this.#at < this.#text.length) {
      this.#skip(' \t\r\n');
      const char = this.#text[this.#at];
      if (char === undefined) return;
      if (char === '[') table = this.#header();
      else if (char !== '#') this.#assignment(table, 0);
      this.#skipLine();
    }
  }

  /** Reads `[a.b]` or `[[a.b]]` and returns the table that the following keys belong to. */
  #header(): KeyNode {
    const isArray = this.#text.startsWith('[[', this.#at);
    this.#at += isArray ? 2 : 1;
    const keys = this.#keys();
    let node = this.#root;
    for (const [index, key] of keys.entries()) {
      node = child(node, key.name, key.offset);
      const isLast = index === keys.length - 1;
      if (isLast && isArray) node.tables += 1;
      if (node.tables > 0) node = child(node, String(node.tables - 1), key.offset);
    }
    return node;
  }

  /** Reads `a.b = value`. */
  #assignment(table: KeyNode, depth: number): void {
    const keys = this.#keys();
    let node = table;
    for (const key of keys) node = child(node, key.name, key.offset);
    if (keys.length === 0 || this.#text[this.#at] !== '=') return;
    this.#at += 1;
    this.#value(node, depth);
  }

  #value(node: KeyNode, depth: number): void {
    this.#skip(' \t');
    const char = this.#text[this.#at];
    if (char === '"' || char === "'") this.#string();
    else if (char === '{' && depth < maxDepth) this.#inlineTable(node, depth + 1);
    else if (char === '[' && depth < maxDepth) this.#array(node, depth + 1);
    else this.#bare();
  }

  #inlineTable(node: KeyNode, depth: number): void {
    this.#at += 1;
    while (this.#nextItem('}')) {
      const before = this.#at;
      this.#assignment(node, depth);
      if (this.#at === before) this.#at += 1;
    }
  }

  #array(node: KeyNode, depth: number): void {
    this.#at += 1;
    for (let index = 0; this.#nextItem(']'); index += 1) {
      const before = this.#at;
      this.#value(child(node, String(index), before), depth);
      if (this.#at === before) this.#at += 1;
    }
  }

  /** Moves to the next item of an array or inline table. Returns false at the end, after moving past the bracket. */
  #nextItem(close: string): boolean {
    for (;;) {
      this.#skip(' \t\r\n,');
      const char = this.#text[this.#at];
      if (char === undefined) return false;
      if (char === '#') {
        this.#skipLine();
        continue;
      }
      if (char !== close) return true;
      this.#at += 1;
      return false;
    }
  }

  /** Reads the dotted key at the current offset; empty if there is none. */
  #keys(): { readonly name: string; readonly offset: number }[] {
    const keys: { name: string; offset: number }[] = [];
    for (;;) {
      this.#skip(' \t');
      const offset = this.#at;
      const char = this.#text[offset];
      if (char === '"' || char === "'") keys.push({ name: this.#string(), offset });
      else {
        while (/[^\s.=[\]{},#"']/.test(this.#text[this.#at] ?? ' ')) this.#at += 1;
        if (this.#at === offset) return keys;
        keys.push({ name: this.#text.slice(offset, this.#at), offset });
      }
      this.#skip(' \t');
      if (this.#text[this.#at] !== '.') return keys;
      this.#at += 1;
    }
  }

  /** Moves past a string of any of the four kinds. @returns its content, with escapes resolved if it is a key. */
  #string(): string {
    const quote = this.#text[this.#at] ?? '"';
    const isLong = this.#text.startsWith(quote.repeat(3), this.#at);
    const start = this.#at + (isLong ? 3 : 1);
    let end = start;
    for (; end < this.#text.length; end += 1) {
      const char = this.#text[end];
      if (char === '\\' && quote === '"') end += 1;
      else if (isLong ? this.#text.startsWith(quote.repeat(3), end) : char === quote || char === '\n') break;
    }
    // A multi-line string may end in up to five quotes, of which the last three close it.
    if (isLong) while (this.#text[end + 3] === quote) end += 1;
    this.#at = Math.min(this.#text.length, end + (isLong ? 3 : 1));
    const raw = this.#text.slice(start, end);
    return quote === '"' ? unescapeKey(raw) : raw;
  }

  /** Moves past a number, date or word. */
  #bare(): void {
    while (/[^\s,\]}#]/.test(this.#text[this.#at] ?? ' ')) this.#at += 1;
  }

  #skip(characters: string): void {
    while (characters.includes(this.#text[this.#at] ?? '\0')) this.#at += 1;
  }

  #skipLine(): void {
    const end = this.#text.indexOf('\n', this.#at);
    this.#at = end < 0 ? this.#text.length : end + 1;
  }
}

const shortEscapes: Readonly<Record<string, string>> = { b: '\b', t: '\t', n: '\n', f: '\f', r: '\r', e: '\u001b' };

function unescapeKey(raw: string): string {
  return raw.replace(
    /\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))/gs,
    (_, ...groups: (string | undefined)[]) => {
      const [u, U, x, char = ''] = groups;
      const hex = u ?? U ?? x;
      if (hex === undefined) return shortEscapes[char] ?? char;
      const code = Number.parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : '';
    },
  );
}

function newNode(offset: number | undefined): KeyNode {
  return { offset, children: new Map(), tables: 0 };
}

function child(node: KeyNode, name: string, offset: number): KeyNode {
  const found = node.children.get(name);
  if (found !== undefined) return found;
  const made = newNode(offset);
  node.children.set(name, made);
  return made;
}

function lineStartsOf(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

/** Finds the last line that begins at or before the offset, by binary search. */
function positionOf(lineStarts: readonly number[], offset: number): Position {
  let low = 0;
  let high = lineStarts.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((lineStarts[middle] ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return { line: low + 1, column: offset - (lineStarts[low] ?? 0) + 1 };
}
