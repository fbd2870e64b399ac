/** Where each key of a TOML text stands, so that an error can name its line. The parser of the values gives positions for syntax errors only. */
import { parseTOML, type AST } from 'toml-eslint-parser';

/** Both are counted from 1. */
interface Position {
  readonly line: number;
  readonly column: number;
}

export interface TomlPositions {
  /** Returns the position of the key, else of the nearest table above it that the text names; undefined if it names none. */
  find(path: readonly PropertyKey[]): Position | undefined;
}

interface KeyNode {
  position: Position | undefined;
  readonly children: Map<string, KeyNode>;
}

/** Never throws: a text that does not parse has no positions. */
export function tomlPositions(text: string): TomlPositions {
  const root = newNode();
  for (const item of topLevel(text)) {
    if (item.type === 'TOMLKeyValue') addKeyValue(root, item);
    else addTable(root, item);
  }
  return {
    find(path) {
      let node = root;
      let position: Position | undefined;
      for (const key of path) {
        const next = node.children.get(String(key));
        if (next === undefined) break;
        node = next;
        position = node.position ?? position;
      }
      return position;
    },
  };
}

function topLevel(text: string): AST.TOMLTopLevelTable['body'] {
  try {
    return parseTOML(text).body[0].body;
  } catch {
    // Malformed, or nested deeper than the stack is: the values' parser has refused such a text before.
    return [];
  }
}

/** `[a.b]` or `[[a.b]]`, with the keys below it. An index in `resolvedKey` has the position of the key before it. */
function addTable(root: KeyNode, table: AST.TOMLTable): void {
  let node = root;
  let keys = 0;
  for (const part of table.resolvedKey) {
    node = child(node, part, table.key.keys[typeof part === 'number' ? keys - 1 : keys++]);
  }
  for (const item of table.body) addKeyValue(node, item);
}

function addKeyValue(table: KeyNode, { key, value }: AST.TOMLKeyValue): void {
  let node = table;
  for (const part of key.keys) node = child(node, part.type === 'TOMLBare' ? part.name : part.value, part);
  addValue(node, value);
}

function addValue(node: KeyNode, value: AST.TOMLContentNode): void {
  if (value.type === 'TOMLInlineTable') for (const item of value.body) addKeyValue(node, item);
  if (value.type === 'TOMLArray') {
    for (const [index, element] of value.elements.entries()) addValue(child(node, index, element), element);
  }
}

function child(node: KeyNode, name: string | number, at: AST.TOMLNode | undefined): KeyNode {
  const found = node.children.get(String(name));
  if (found) return found;
  const made = newNode(at && { line: at.loc.start.line, column: at.loc.start.column + 1 });
  node.children.set(String(name), made);
  return made;
}

function newNode(position?: Position): KeyNode {
  return { position, children: new Map() };
}
