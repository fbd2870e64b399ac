/** Runs Helm on the chart and reads what it renders. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';

export const chart = fileURLToPath(new URL('../../charts/holdfast', import.meta.url));
export const scenarios = readdirSync(join(chart, 'ci')).map((file) => join(chart, 'ci', file));

export interface Rendered {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  // eslint-disable-next-line typescript/no-explicit-any -- manifests of any kind
  readonly [key: string]: any;
}

const kubeVersion = '1.34.0'; // a Helm built by `go install` believes in 1.20

function helmCommand(): string {
  const tools =
    process.env['TOOLS'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'one-node-kube');
  const built = join(tools, 'helm');
  return existsSync(built) ? built : 'helm';
}

/** @throws with Helm's own words. */
export async function helm(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(helmCommand(), args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

/** @param values files, or `key=value` settings. */
export async function render(...values: string[]): Promise<Rendered[]> {
  const options = values.flatMap((value) => (value.endsWith('.yaml') ? ['--values', value] : ['--set-json', value]));
  const text = await helm(
    'template',
    'holdfast',
    chart,
    '--namespace',
    'holdfast',
    '--kube-version',
    kubeVersion,
    ...options,
  );
  const documents = parseAllDocuments(text);
  if ('empty' in documents) return [];
  return documents.map((document) => document.toJS() as Rendered | null).filter((object) => object !== null);
}

/** The pods that objects make, with the name of what makes them. */
export function podsOf(
  objects: readonly Rendered[],
): { readonly name: string; readonly spec: Rendered; readonly labels: Record<string, string> }[] {
  return objects.flatMap((object) => {
    const name = `${object.kind}/${object.metadata.name}`;
    if (object.kind === 'Pod') return [{ name, spec: object['spec'], labels: { ...object.metadata.labels } }];
    const template = object['spec']?.template;
    return template?.spec === undefined ? [] : [{ name, spec: template.spec, labels: template.metadata.labels }];
  });
}

export function find(objects: readonly Rendered[], kind: string, name: string): Rendered {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind}/${name} was rendered`);
  return found;
}
