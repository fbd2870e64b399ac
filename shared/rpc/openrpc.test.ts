import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorTable } from '../error-codes.ts';
import { agentMethods } from '../protocol/methods.ts';
import { openRpcDocument } from './openrpc.ts';

interface MethodObject {
  readonly name: string;
  readonly params: { name: string; required: boolean; schema: Record<string, unknown> }[];
  readonly result: { schema: Record<string, unknown> };
  readonly errors: { $ref: string }[];
  readonly 'x-scopes': string[];
  readonly 'x-item'?: unknown;
}

interface Document {
  readonly openrpc: string;
  readonly info: { version: string };
  readonly methods: MethodObject[];
  readonly components: { errors: Record<string, { code: number; message: string }> };
  readonly 'x-router-methods': MethodObject[];
}

// The document passes through JSON, as it does for a client.
const document = JSON.parse(JSON.stringify(openRpcDocument('1.2.3'))) as Document;

test('every method is in the document with what OpenRPC requires of it', () => {
  assert.match(document.openrpc, /^1\.3\./);
  assert.equal(document.info.version, '1.2.3');
  assert.deepEqual(
    document.methods.map((method) => method.name),
    Object.keys(agentMethods),
  );
  for (const method of [...document.methods, ...document['x-router-methods']]) {
    assert.ok(method.result.schema, method.name);
    assert.ok(method['x-scopes'].length > 0, method.name);
    for (const param of method.params) assert.ok(param.name && typeof param.schema === 'object', method.name);
    for (const { $ref } of method.errors) assert.ok(document.components.errors[$ref.split('/').at(-1) ?? ''], $ref);
  }
});

test('parameters with a default are optional to a caller, and streams are told', () => {
  const apply = document.methods.find((method) => method.name === 'apps.apply');
  assert.deepEqual(
    apply?.params.map(({ name, required }) => [name, required]),
    [
      ['apps', true],
      ['dryRun', false],
    ],
  );
  const streaming = document.methods.filter((method) => method['x-item'] !== undefined).map((method) => method.name);
  assert.deepEqual(streaming, ['builds.logs', 'versions.ensure', 'logs.follow', 'routes.watch']);
});

test('every code of the table is a component, numbered as JSON-RPC reserves', () => {
  const { errors } = document.components;
  assert.deepEqual(Object.keys(errors), Object.keys(errorTable));
  assert.equal(errors['parse_error']?.code, -32_700);
  assert.equal(errors['app_crashed']?.code, -32_000);
});
