/** What the audit says of a call: its app, and what changed, without values. */
import type { ServedCall } from '../../shared/rpc/dispatch.ts';
import type { AuditedRequest } from './audit.ts';

interface Described {
  readonly app: string | null;
  readonly detail: string;
}

/** Methods that are audited when they succeed or fail. All others are audited when they are forbidden. */
const described: Readonly<
  Record<string, (params: Record<string, unknown>, result: Record<string, unknown>) => string>
> = {
  'apps.apply': () => '',
  'apps.delete': ({ volumes }) => (volumes === true ? 'with its volumes' : ''),
  'apps.sync': (_params, { change }) => changeText(change as Change | undefined),
  'versions.ensure': ({ version }) => versionText(version),
  'versions.rollback': (_params, { version, from }) =>
    from === undefined ? '' : `from version ${shown(from)} to ${shown(version)}`,
  'images.prune': (_params, { pruned }) => (Array.isArray(pruned) ? `${pruned.length} images` : ''),
  'sources.begin': ({ archive, bytes }) => `${shown(bytes)} bytes, archive ${shown(archive).slice(0, 12)}`,
  'sources.complete': ({ archive }, { files }) =>
    `${shown(files ?? 'no')} files, archive ${shown(archive).slice(0, 12)}`,
  'logs.follow': ({ version }) => versionText(version),
  'builds.logs': ({ version }) => versionText(version),
  'audit.list': () => '',
};

interface Change {
  readonly app: string;
  readonly action: string;
  readonly version: number;
  readonly fields: readonly string[];
}

/** @returns the entries of the call, several for one that changes several apps; none if it is not audited. */
export function describeCall({ method, params, identity, outcome, result }: ServedCall): AuditedRequest[] {
  const describe = Object.hasOwn(described, method) ? described[method] : undefined;
  const isDenied = outcome === 'forbidden';
  // Routers ask for versions at each wake, which events tell.
  const isRouter = identity.scopes.every((scope) => scope === 'router');
  if (!isDenied && (describe === undefined || isRouter)) return [];
  const common = { actor: identity.name, address: identity.address ?? '', method, outcome };
  const given = asRecord(params);
  const changes = method === 'apps.apply' ? changesOf(given, asRecord(result)) : undefined;
  if (changes !== undefined) return changes.map((one) => ({ ...common, ...one }));
  const app = typeof given['app'] === 'string' ? given['app'] : null;
  return [{ ...common, app, detail: isDenied ? '' : (describe?.(given, asRecord(result)) ?? '') }];
}

function changesOf(params: Record<string, unknown>, result: Record<string, unknown>): Described[] {
  const prefix = params['dryRun'] === true ? 'dry run: ' : '';
  const changes = result['changes'] as readonly Change[] | undefined;
  if (changes !== undefined) return changes.map((one) => ({ app: one.app, detail: `${prefix}${changeText(one)}` }));
  const apps = Array.isArray(params['apps']) ? (params['apps'] as readonly unknown[]) : [];
  return apps.map((one) => ({ app: nameOf(one), detail: prefix.trim() }));
}

function changeText(change: Change | undefined): string {
  if (change === undefined) return '';
  const fields = change.fields.length === 0 ? '' : `: ${change.fields.join(', ')}`;
  return `${change.action}, version ${change.version}${fields}`;
}

function versionText(version: unknown): string {
  return version === undefined ? '' : `version ${shown(version)}`;
}

/** Calls that were refused may have anything in place of a number. */
function shown(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '?';
}

function nameOf(app: unknown): string | null {
  const { name } = asRecord(app);
  return typeof name === 'string' ? name.slice(0, 63) : null;
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
