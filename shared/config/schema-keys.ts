/** Lists the keys of a zod schema as data: for the environment, for suggestions on unknown keys, and for the docs. */
import { z } from 'zod';

export interface SchemaKey {
  /** `[]` stands for the items of an array, `*` for any key. */
  readonly path: readonly string[];
  readonly kind: 'string' | 'number' | 'integer' | 'boolean' | 'strings' | 'table' | 'tables';
  /** The allowed values in words, such as `whole number, from 1` or `list of tables`. */
  readonly type: string;
  readonly required: boolean;
  readonly default: unknown;
  readonly description: string;
}

/** The part of JSON Schema that zod generates for configurations. */
interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** Returns every key in the order of the schema, with a table before its contents. */
export function schemaKeys(schema: z.ZodType): SchemaKey[] {
  const written = toJson(schema, 'input');
  // A default that is set after a conversion only appears in the output schema.
  const read = toJson(schema, 'output');
  return keysBelow(written, read, []);
}

function toJson(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  return z.toJSONSchema(schema, { io, unrepresentable: 'any', reused: 'inline' }) as JsonSchema;
}

function keysBelow(written: JsonSchema, read: JsonSchema, path: readonly string[]): SchemaKey[] {
  return Object.entries(written.properties ?? {}).flatMap(([name, value]) => {
    const valueRead = read.properties?.[name] ?? {};
    const keyPath = [...path, name];
    const key: SchemaKey = {
      path: keyPath,
      kind: kindOf(value),
      type: typeInWords(value),
      required: (written.required ?? []).includes(name),
      default: value.default ?? valueRead.default,
      description: value.description ?? valueRead.description ?? '',
    };
    return [
      key,
      ...keysBelow(value, valueRead, keyPath),
      ...keysBelow(value.items ?? {}, valueRead.items ?? {}, [...keyPath, '[]']),
    ];
  });
}

function kindOf(schema: JsonSchema): SchemaKey['kind'] {
  if (schema.type === 'array') return kindOf(schema.items ?? {}) === 'table' ? 'tables' : 'strings';
  if (schema.type === 'object') return 'table';
  if (schema.type === 'boolean' || schema.type === 'number' || schema.type === 'integer') return schema.type;
  return 'string';
}

function typeInWords(schema: JsonSchema): string {
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(' or ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map(typeInWords))].join(' or ');
  if (schema.type === 'array') return `list of ${several(typeInWords(schema.items ?? {}))}`;
  if (schema.type === 'object') {
    const values = schema.additionalProperties;
    return typeof values === 'object' ? `table of ${several(typeInWords(values))}` : 'table';
  }
  const types = [schema.type ?? 'string'].flat();
  const words = types.map((type) => (type === 'integer' ? 'whole number' : type)).join(' or ');
  return `${words}${range(schema)}`;
}

function several(words: string): string {
  return /^[a-z ]+$/.test(words) && !words.includes(' or ') ? `${words}s` : words;
}

function range({ minimum, maximum }: JsonSchema): string {
  const isOpen = maximum === undefined || maximum === Number.MAX_SAFE_INTEGER;
  if (minimum !== undefined && !isOpen) return `, ${minimum} to ${maximum}`;
  if (minimum !== undefined && minimum !== Number.MIN_SAFE_INTEGER) return `, from ${minimum}`;
  return isOpen ? '' : `, to ${maximum}`;
}
