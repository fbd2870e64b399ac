import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import { loadConfig } from './load.ts';

const schema = z.strictObject({
  system: z
    .strictObject({
      container_command: z.enum(['process', 'kubernetes']).default('process'),
      listen_port: z.int().min(1).max(65_535).default(7400),
      ratio: z.number().optional(),
      debug: z.boolean().default(false),
      names: z.array(z.string()).default([]),
    })
    .prefault({}),
  metadata: z.strictObject({ db_connection: z.string().min(1) }),
  app: z
    .array(
      z.strictObject({
        name: z.string(),
        env: z.record(z.string().regex(/^[A-Z]+$/, 'must be capitals'), z.string()).default({}),
      }),
    )
    .default([]),
});

type Env = Record<string, string>;

function load(text: string, env: Env = {}, files: Env = {}): z.output<typeof schema> {
  const readFile = (path: string): string => {
    const content = files[path];
    if (content === undefined) throw new Error('no such file');
    return content;
  };
  return loadConfig({ schema, text, file: 'holdfast.toml', env, readFile });
}

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof AppError);
    assert.equal(error.code, 'config_invalid');
    return error.message;
  }
  return assert.fail('it was accepted');
}

const base = '[metadata]\ndb_connection = "postgres://db.example/holdfast"\n';

test('a valid text gives its values and the defaults', () => {
  const config = load(`${base}[system]\nlisten_port = 1\n`);
  assert.equal(config.system.listen_port, 1);
  assert.equal(config.system.container_command, 'process');
});

test('an unknown key is named with its line and what was probably meant', () => {
  assert.equal(
    messageOf(() => load(`${base}[system]\ncontainr_command = "process"\n`)),
    'holdfast.toml:4:1: system.containr_command: is not a known key; did you mean container_command?',
  );
});

test('an unknown key like no other is answered with the known ones', () => {
  assert.match(
    messageOf(() => load(`${base}[[app]]\nname = "x"\ncolour = 1\n`)),
    /holdfast\.toml:5:1: app\[0\]\.colour: is not a known key; remove it \(known here: name, env\)/,
  );
});

test('a wrong type says what is expected and what was found', () => {
  assert.equal(
    messageOf(() => load(`${base}[system]\nlisten_port = "7400"\n`)),
    'holdfast.toml:4:1: system.listen_port: must be a number, not a string in quotes',
  );
});

test('a value out of range and a wrong choice say what is allowed', () => {
  const message = messageOf(() => load(`${base}[system]\nlisten_port = 0\ncontainer_command = "kubernets"\n`));
  assert.match(message, /holdfast\.toml:4:1: system\.listen_port: must be at least 1/);
  assert.match(
    message,
    /5:1: system\.container_command: must be one of "process", "kubernetes"; did you mean "kubernetes"\?/,
  );
});

test('a missing key is named, at its table where there is one', () => {
  assert.equal(
    messageOf(() => load('[metadata]\n')),
    'holdfast.toml:1:2: metadata.db_connection: is required',
  );
  assert.equal(
    messageOf(() => load('')),
    'holdfast.toml: metadata: is required',
  );
});

test('every problem is told at once, and no more than twenty', () => {
  const keys = Array.from({ length: 30 }, (_, index) => `unknown_number_${index} = 1`);
  const message = messageOf(() => load(`${keys.join('\n')}\n[metadata]\ndb_connection = 5\n`));
  assert.equal(message.split('\n').length, 22);
  assert.match(message, /^holdfast\.toml: 31 problems\n/);
  assert.match(message, /… and 11 more$/);
});

test('a syntax error has its line and column', () => {
  assert.match(
    messageOf(() => load('[metadata]\ndb_connection = \n')),
    /^holdfast\.toml:2:\d+: not valid TOML: [^\n]+$/,
  );
});

test('the environment goes over the file, in the type of the key', () => {
  const config = load(`${base}[system]\nlisten_port = 1\n`, {
    HOLDFAST_SYSTEM_LISTEN_PORT: '9000',
    HOLDFAST_SYSTEM_DEBUG: 'true',
    HOLDFAST_SYSTEM_RATIO: '0.5',
    HOLDFAST_SYSTEM_NAMES: 'a, b',
    HOLDFAST_SYSTEM_CONTAINER_COMMAND: '',
  });
  assert.deepEqual(config.system, {
    container_command: 'process',
    listen_port: 9000,
    ratio: 0.5,
    debug: true,
    names: ['a', 'b'],
  });
});

test('the environment alone is enough', () => {
  assert.equal(load('', { HOLDFAST_METADATA_DB_CONNECTION: 'x' }).metadata.db_connection, 'x');
});

test('an error in the environment names the variable', () => {
  assert.equal(
    messageOf(() => load(base, { HOLDFAST_SYSTEM_LISTEN_PORT: 'many' })),
    'environment variable HOLDFAST_SYSTEM_LISTEN_PORT: system.listen_port: must be a whole number',
  );
  assert.equal(
    messageOf(() => load(base, { HOLDFAST_SYSTEM_LISTEN_PORT: '0' })),
    'environment variable HOLDFAST_SYSTEM_LISTEN_PORT: system.listen_port: must be at least 1',
  );
});

test('a value can come from a file, without its last line end', () => {
  const env = { HOLDFAST_METADATA_DB_CONNECTION_FILE: '/run/secret' };
  assert.equal(load('', env, { '/run/secret': 'postgres://x\n' }).metadata.db_connection, 'postgres://x');
  assert.match(
    messageOf(() => load('', env)),
    /environment variable HOLDFAST_METADATA_DB_CONNECTION_FILE: metadata\.db_connection: cannot read \/run\/secret: no such file/,
  );
  assert.match(
    messageOf(() => load('', { ...env, HOLDFAST_METADATA_DB_CONNECTION: 'x' })),
    /is set too; set one of them/,
  );
});

test('a bad key of a free table is named', () => {
  assert.match(
    messageOf(() => load(`${base}[[app]]\nname = "x"\nenv = { "a b" = "1" }\n`)),
    /holdfast\.toml:5:9: app\[0\]\.env\."a b": must be capitals/,
  );
});

test('a text over 1 MiB is refused', () => {
  assert.match(
    messageOf(() => load(`# ${'x'.repeat(1_048_576)}`)),
    /is over 1048576 bytes/,
  );
});

test('any text gives a configuration or config_invalid, never another error', () => {
  const piece = fc.constantFrom(
    '[system]',
    '[[app]]',
    '[metadata]',
    'name',
    'env',
    '=',
    '"x"',
    '1',
    '{',
    '}',
    '[',
    ']',
    '\n',
    '.',
    '__proto__',
    'true',
    '"""',
    '#',
    'db_connection',
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(piece).map((parts) => parts.join(' ')),
  );
  const env = fc.dictionary(
    fc.constantFrom('HOLDFAST_SYSTEM_LISTEN_PORT', 'HOLDFAST_METADATA_DB_CONNECTION', 'HOLDFAST_SYSTEM_NAMES_FILE'),
    fc.string(),
  );
  fc.assert(
    fc.property(text, env, (text, env) => {
      try {
        load(text, env);
      } catch (error) {
        assert.ok(error instanceof AppError && error.code === 'config_invalid', String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});
