import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parse, stringify } from 'smol-toml';
import { tomlPositions } from './toml-positions.ts';

const sample = `# a comment with [brackets] = 1
title = "x"

[system]
  listen_port = 7400 # trailing
"quoted key" = 1
'literal.key' = { a = 1, "b" = [1, { c = 2 }] }
a.b . c = true

[[app]]
name = "one"
env = { X = "1", Y.z = "]" }
script = """
[not.a.table]
name = "no"
"""
[app.config]
strip_path = false

[[app]]
name = 'two'
list = [
  "a", # comment ]
  "b",
]
[app.config.hold]
max_calls = 1
`;

function at(path: readonly (string | number)[], text = sample): string | undefined {
  const position = tomlPositions(text).find(path);
  return position === undefined ? undefined : `${position.line}:${position.column}`;
}

test('keys of the root and of a table have their line and column', () => {
  assert.equal(at(['title']), '2:1');
  assert.equal(at(['system']), '4:2');
  assert.equal(at(['system', 'listen_port']), '5:3');
});

test('quoted, literal and dotted keys are one key a part', () => {
  assert.equal(at(['system', 'quoted key']), '6:1');
  assert.equal(at(['system', 'literal.key']), '7:1');
  assert.equal(at(['system', 'a']), '8:1');
  assert.equal(at(['system', 'a', 'b', 'c']), '8:7');
});

test('keys within inline tables and arrays are found', () => {
  assert.equal(at(['system', 'literal.key', 'a']), '7:19');
  assert.equal(at(['system', 'literal.key', 'b', 1, 'c']), '7:38');
  assert.equal(at(['app', 1, 'list', 1]), '24:3');
});

test('arrays of tables are counted, and tables below belong to the last of them', () => {
  assert.equal(at(['app', 0, 'name']), '11:1');
  assert.equal(at(['app', 0, 'env', 'Y', 'z']), '12:20');
  assert.equal(at(['app', 0, 'config', 'strip_path']), '18:1');
  assert.equal(at(['app', 1, 'name']), '21:1');
  assert.equal(at(['app', 1, 'config', 'hold', 'max_calls']), '27:1');
});

test('what stands in a multi-line string is not taken for keys', () => {
  assert.equal(at(['not']), undefined);
  assert.equal(at(['app', 0, 'script']), '13:1');
});

test('a key that is missing has the position of its table', () => {
  assert.equal(at(['app', 1, 'path']), '20:3');
  assert.equal(at(['metadata', 'db_connection']), undefined);
});

test('strings that end in more than three quotes and escaped keys are understood', () => {
  assert.equal(at(['b'], 'a = """x"""""\nb = 1\n'), '2:1');
  assert.equal(at(['é"'], '"\\u00e9\\"" = 1\n'), '1:1');
  assert.equal(at(['b'], "a = '''it''s'''\nb = 1"), '2:1');
});

test('any text is scanned without throwing', () => {
  const token = fc.constantFrom(
    '[',
    ']',
    '[[',
    ']]',
    '{',
    '}',
    '"',
    '"""',
    "'",
    "'''",
    '=',
    '.',
    ',',
    '\n',
    '#',
    ' ',
    'a',
    '\\',
    '\\u',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(token).map((parts) => parts.join('')),
      ),
      (text) => {
        tomlPositions(text).find(['a', 0, 'a']);
      },
    ),
    { numRuns: 2_000 },
  );
  tomlPositions('['.repeat(100_000));
  tomlPositions('a=' + '['.repeat(100_000));
  tomlPositions('a=' + '{a='.repeat(100_000));
});

test('every key of a random document is found on a line that holds it', () => {
  const name = fc
    .oneof(fc.stringMatching(/^[a-z0-9_-]{1,6}$/), fc.string({ minLength: 1, maxLength: 6 }))
    .filter((key) => key !== '__proto__' && key !== 'constructor' && key !== 'prototype');
  const scalar = fc.oneof(fc.integer(), fc.boolean(), fc.string());
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 3 },
      scalar,
      fc.array(scalar, { maxLength: 3 }),
      tie('table'),
      fc.array(tie('table'), { minLength: 1, maxLength: 3 }),
    ),
    table: fc.dictionary(name, tie('any'), { maxKeys: 4 }),
  })).table;
  fc.assert(
    fc.property(value, (document) => {
      const text = stringify(document);
      const positions = tomlPositions(text);
      const lines = text.split('\n');
      for (const path of pathsOf(parse(text), [])) {
        const position = positions.find(path);
        assert.ok(position !== undefined, `${JSON.stringify(path)} in ${text}`);
        const rest = lines[position.line - 1]?.slice(position.column - 1) ?? '';
        const key = path.at(-1);
        if (typeof key === 'string') {
          assert.ok(
            rest.startsWith(key) || rest.startsWith('"') || rest.startsWith("'"),
            `${JSON.stringify(path)}: ${rest}`,
          );
        }
      }
    }),
    { numRuns: 500 },
  );
});

function pathsOf(value: unknown, path: readonly (string | number)[]): (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return path.length === 0 ? [] : [path];
  const entries = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  const below = entries.flatMap(([key, item]) => pathsOf(item, [...path, key]));
  return path.length === 0 ? below : [path, ...below];
}
