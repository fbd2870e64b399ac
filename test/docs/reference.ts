/** The parts of docs/ that are made from the code: tables of keys, errors, help of the commands. */
import { readFile } from 'node:fs/promises';
import { format } from 'prettier';
import type { z } from 'zod';
import { agentConfig } from '../../agent/config/config.ts';
import { appFile } from '../../cli/app-file.ts';
import { buildProgram } from '../../cli/run.ts';
import { routerConfig } from '../../router/config.ts';
import { type SchemaKey, schemaKeys } from '../../shared/config/schema-keys.ts';
import { errorTable } from '../../shared/error-codes.ts';
import { appConfig } from '../../shared/protocol/app-config.ts';

import { agentMetricRows, routerMetricRows, type MetricRow } from './metrics.ts';

const docsFolder = new URL('../../docs/', import.meta.url);

/** File in docs/ → parts by name; each stands between `<!-- generated: NAME -->` and `<!-- end -->`. */
const parts: Readonly<Record<string, Readonly<Record<string, () => string>>>> = {
  'configuration.md': {
    'agent keys': () => keyTables(agentConfig, (key) => key.path[0] !== 'app' && key.path[0] !== 'app_config'),
    'app_config keys': () => keyTable(valueKeys(schemaKeys(appConfig))),
    'router keys': () => keyTables(routerConfig),
  },
  'app-file.md': { 'app keys': () => keyTable(appFileKeys()) },
  'errors.md': { 'error codes': errorCodes },
  'metrics.md': {
    'agent metrics': () => metricTable(agentMetricRows()),
    'router metrics': () => metricTable(routerMetricRows()),
  },
  'cli.md': { commands },
};

/** @returns for each file its text as it is and as it should be. */
export async function referenceDocs(): Promise<{ readonly url: URL; readonly is: string; readonly should: string }[]> {
  return Promise.all(
    Object.entries(parts).map(async ([file, makers]) => {
      const url = new URL(file, docsFolder);
      const is = await readFile(url, 'utf8');
      let text = is;
      for (const [name, make] of Object.entries(makers)) text = replacePart(text, name, make(), file);
      const should = await format(text, {
        parser: 'markdown',
        printWidth: 120,
        singleQuote: true,
        trailingComma: 'all',
      });
      return { url, is, should };
    }),
  );
}

function replacePart(text: string, name: string, content: string, file: string): string {
  const begin = `<!-- generated: ${name} -->`;
  const end = '<!-- end -->';
  const from = text.indexOf(begin);
  const to = text.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`docs/${file} has no "${begin} … ${end}"`);
  return `${text.slice(0, from + begin.length)}\n\n${content}\n\n${text.slice(to)}`;
}

/** One table for each section of a configuration. */
function keyTables(schema: z.ZodType, filter: (key: SchemaKey) => boolean = () => true): string {
  const keys = schemaKeys(schema).filter(filter);
  return keys
    .filter((key) => key.path.length === 1)
    .map((section) => {
      const [name = ''] = section.path;
      const isList = section.kind === 'tables';
      const inside = valueKeys(keys.filter((key) => key.path[0] === name && key !== section)).map((key) => ({
        ...key,
        path: key.path.slice(isList ? 2 : 1),
      }));
      return `### \`${isList ? `[[${name}]]` : `[${name}]`}\`\n\n${section.description}\n\n${keyTable(inside)}`;
    })
    .join('\n\n');
}

/** Overrides are those of `[app_config]`, which has a table of its own. */
function appFileKeys(): SchemaKey[] {
  const keys = schemaKeys(appFile).map((key) => ({ ...key, path: key.path.slice(2) }));
  return keys.filter((key) => key.path.length > 0 && (key.path[0] !== 'config' || key.path.length === 1));
}

/** Skips tables that only hold other keys. */
function valueKeys(keys: readonly SchemaKey[]): SchemaKey[] {
  return keys.filter((key) => key.kind !== 'table' || key.type !== 'table');
}

function keyTable(keys: readonly SchemaKey[]): string {
  const rows = keys.map((key) => [
    `\`${key.path.join('.').replaceAll('.[]', '[]')}\``,
    key.type,
    key.required
      ? '**required**'
      : key.default === undefined || isEmptyTable(key.default)
        ? ''
        : `\`${JSON.stringify(key.default)}\``,
    key.description,
  ]);
  return markdownTable(['Key', 'Type', 'Default', 'Meaning'], rows);
}

function isEmptyTable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length === 0;
}

function errorCodes(): string {
  const rows = Object.entries(errorTable).map(([code, entry]) => [
    `\`${code}\``,
    String(entry.status),
    entry.owner,
    entry.retryable ? 'yes' : 'no',
    entry.help,
  ]);
  return markdownTable(['Code', 'HTTP', 'Owner', 'Retry', 'What it means and what to do'], rows);
}

function metricTable(metrics: readonly MetricRow[]): string {
  const rows = metrics.map(({ name, type, labels, help }) => [
    `\`${name}\``,
    type,
    labels.map((label) => `\`${label}\``).join(', '),
    help,
  ]);
  return markdownTable(['Metric', 'Type', 'Labels', 'Meaning'], rows);
}

function commands(): string {
  const never = new AbortController().signal;
  const quiet = { write: () => undefined };
  const program = buildProgram({
    env: {},
    cwd: '/',
    stdout: quiet,
    stderr: quiet,
    interrupted: never,
    killed: never,
    ask: async () => undefined,
    connect: () => {
      throw new Error('help needs no agent');
    },
  });
  return program.commands
    .filter((command) => command.name() !== 'help')
    .map((command) => {
      command.configureHelp({ showGlobalOptions: false, helpWidth: 100 });
      return `### ${command.name()}\n\n\`\`\`text\n${command.helpInformation().trim()}\n\`\`\``;
    })
    .join('\n\n');
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}
