import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { schemaKeys } from './schema-keys.ts';

const schema = z.strictObject({
  system: z.strictObject({ level: z.enum(['low', 'high']).default('low').describe('How much.') }).prefault({}),
  size: z.union([z.string(), z.number()]).transform(String).default('1Gi'),
  token: z.array(z.strictObject({ name: z.string(), scopes: z.array(z.string()) })).default([]),
  env: z.record(z.string(), z.string()).default({}),
  port: z.int().min(1).max(10).optional(),
});

test('keys come in order with kind, type in words, default and description', () => {
  const keys = schemaKeys(schema).map(({ path, kind, type, required }) => [path.join('.'), kind, type, required]);
  assert.deepEqual(keys, [
    ['system', 'table', 'table', false],
    ['system.level', 'string', '"low" or "high"', false],
    ['size', 'string', 'string or number', false],
    ['token', 'tables', 'list of tables', false],
    ['token.[].name', 'string', 'string', true],
    ['token.[].scopes', 'strings', 'list of strings', true],
    ['env', 'table', 'table of strings', false],
    ['port', 'integer', 'whole number, 1 to 10', false],
  ]);
});

test('defaults are told, also those behind a conversion', () => {
  const byPath = new Map(schemaKeys(schema).map((key) => [key.path.join('.'), key]));
  assert.equal(byPath.get('system.level')?.default, 'low');
  assert.equal(byPath.get('system.level')?.description, 'How much.');
  assert.equal(byPath.get('size')?.default, '1Gi');
  assert.equal(byPath.get('port')?.default, undefined);
});
