/**
 * The part of values.schema.json that the agent's and the router's own schemas say: the keys that `agent.config` and
 * `router.config` may have. `node test/chart/config-schema.ts` writes it; a test holds it to that.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format } from 'prettier';
import { z } from 'zod';
import { agentConfig } from '../../agent/config/config.ts';
import { routerConfig } from '../../router/config.ts';

type JsonSchema = Record<string, unknown>;

const file = fileURLToPath(new URL('../../charts/holdfast/values.schema.json', import.meta.url));

/** What the chart itself sets, from other values. */
const ofTheChart = {
  agent: ['metadata', 'registry', 'kubernetes', 'git_auth', 'token'],
  system: ['container_command', 'listen_host', 'listen_port', 'admin_port', 'data_dir', 'default_domain', 'public_url'],
  builder: [
    'mode',
    'kaniko_image',
    'fetch_image',
    'agent_url',
    'builder_auth_token',
    'builder_auth_token_file',
    'ca_file',
    'cpus',
    'memory',
    'cache',
    'args',
    'registry_mirrors',
    'insecure_registries',
    'node_selector',
    'tolerations',
    'image_pull_secrets',
  ],
  source: ['webhook_secret', 'webhook_secret_file'],
  router: ['listen_host', 'listen_port', 'admin_port', 'agent_url', 'name', 'token', 'token_file'],
  tls: ['listen_port', 'certificate', 'cert_folder'],
};

/** values.schema.json as it should be. */
export async function currentSchema(): Promise<string> {
  const schema = JSON.parse(readFileSync(file, 'utf8')) as { definitions: JsonSchema };
  const agent = without(toJsonSchema(agentConfig), ofTheChart.agent);
  const properties = agent['properties'] as Record<string, JsonSchema>;
  for (const section of ['system', 'builder', 'source'] as const)
    properties[section] = without(properties[section] ?? {}, ofTheChart[section]);
  const sections = toJsonSchema(routerConfig)['properties'] as Record<string, JsonSchema>;
  const router = without(sections['router'] ?? {}, ofTheChart.router);
  const keys = router['properties'] as Record<string, JsonSchema>;
  keys['tls'] = without(keys['tls'] ?? {}, ofTheChart.tls);
  Object.assign(schema.definitions, { agentConfig: agent, routerConfig: router });
  return await format(JSON.stringify(schema), { filepath: file, printWidth: 120 });
}

export function storedSchema(): string {
  return readFileSync(file, 'utf8');
}

function toJsonSchema(schema: z.ZodType): JsonSchema {
  const json = z.toJSONSchema(schema, { target: 'draft-7', io: 'input', unrepresentable: 'any' });
  delete json.$schema;
  return plain(json) as JsonSchema;
}

/** Drops defaults, which the program has itself, and patterns that Helm's regular expressions cannot express. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key, item]) => {
    if (typeof item === 'string' && key === 'pattern') return isForGo(item);
    return typeof item === 'string' ? key !== 'format' : key !== 'default' || isSchema(item);
  });
  return Object.fromEntries(entries.map(([key, item]) => [key, plain(item)]));
}

/** RE2 has no look-around and counts to 1000. https://github.com/google/re2/wiki/Syntax */
function isForGo(pattern: string): boolean {
  const counts = [...pattern.matchAll(/\{(\d+)?,?(\d+)?\}/g)].flatMap(([, least, most]) => [
    Number(least ?? 0),
    Number(most ?? 0),
  ]);
  return !/\(\?[=!<]|\\0/.test(pattern) && counts.every((count) => count <= 1_000);
}

function isSchema(value: unknown): boolean {
  return typeof value === 'object' && value !== null && ('type' in value || 'anyOf' in value);
}

function without(schema: JsonSchema, keys: readonly string[]): JsonSchema {
  const properties = Object.entries(schema['properties'] as JsonSchema).filter(([key]) => !keys.includes(key));
  const { required: _required, ...rest } = schema;
  return { ...rest, properties: Object.fromEntries(properties) };
}

if (import.meta.main) writeFileSync(file, await currentSchema());
