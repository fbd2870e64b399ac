/** Plans what a declaration changes, before anything is written. It is pure, so that `dryRun` and an apply cannot differ. */
import { isDeepStrictEqual } from 'node:util';
import { AppError } from '../../../shared/errors.ts';
import { resolveAppConfig, type AppConfig } from '../../../shared/protocol/app-config.ts';
import { maskedSecret, parseRoute, type AppSpec } from '../../../shared/protocol/app-spec.ts';
import type { PlannedChange } from '../../../shared/protocol/views.ts';
import { type FoundPin, noPin, type Pin } from '../../platform/platform.ts';
import type { Declaration } from '../../store/app-store.ts';
import { declaredVersion, type AppRecord, type NewEvent, type VersionRecord } from '../../store/records.ts';

export interface PlanInput {
  readonly specs: readonly AppSpec[];
  /** Pins by app name. Members are null if they could not be looked up now. */
  readonly pins: ReadonlyMap<string, FoundPin>;
  readonly records: ReadonlyMap<string, AppRecord>;
  /** Whether the live version of the app answers calls now. */
  readonly isServing: (app: string) => boolean;
  readonly defaults: AppConfig;
  readonly actor: string;
  readonly now: string;
}

export interface Plan {
  readonly changes: readonly PlannedChange[];
  readonly declaration: Declaration;
}

/** @throws AppError app_invalid, route_conflict */
export function planApply(input: PlanInput): Plan {
  const changes: PlannedChange[] = [];
  const created: AppRecord[] = [];
  const updated: { app: AppRecord; added: VersionRecord | undefined }[] = [];
  const events: NewEvent[] = [];
  const seen = new Set<string>();
  for (const declared of input.specs) {
    if (seen.has(declared.name))
      throw new AppError('app_invalid', `app ${declared.name} is declared twice`, {
        data: { app: declared.name, key: 'name' },
      });
    seen.add(declared.name);
    const record = input.records.get(declared.name);
    const spec = withKeptSecrets(declared, record && declaredVersion(record).spec);
    if (!record) {
      const app = newApp(spec, input);
      created.push(app);
      changes.push({ app: spec.name, action: 'create', version: 1, fields: [] });
      events.push({
        actor: input.actor,
        app: spec.name,
        version: 1,
        kind: 'app.created',
        message: `declared at ${spec.path}${sourceText(input, spec)}`,
      });
      continue;
    }
    const newest = declaredVersion(record);
    const fields = differences(newest, spec, pinOf(input, spec));
    if (fields.length === 0) {
      changes.push({ app: spec.name, action: 'unchanged', version: newest.version, fields });
      continue;
    }
    const next = newVersion(record, spec, input);
    updated.push(next);
    changes.push({ app: spec.name, action: 'update', version: next.added.version, fields });
    events.push({
      actor: input.actor,
      app: spec.name,
      version: next.added.version,
      kind: 'version.declared',
      message: `changes ${fields.map((field) => field.key).join(', ')}${sourceText(input, spec)}`,
    });
  }
  refuseConflicts(input.records, [...created, ...updated.map(({ app }) => app)]);
  return { changes, declaration: { created, updated, deleted: [], events } };
}

/** @throws AppError route_conflict */
export function planRollback(
  record: AppRecord,
  to: VersionRecord,
  input: Pick<PlanInput, 'records' | 'actor' | 'now'>,
): Declaration {
  const app = {
    ...record,
    ...routeOfSpec(to.spec),
    live: to.version,
    pending: null,
    generation: record.generation + 1,
    updatedAt: input.now,
  };
  refuseConflicts(input.records, [app]);
  const message = `version ${to.version} instead of ${record.pending ?? record.live}`;
  return {
    created: [],
    updated: [{ app, added: undefined }],
    deleted: [],
    events: [{ actor: input.actor, app: record.name, version: to.version, kind: 'version.rollback', message }],
  };
}

/** A secret declared as `***` keeps its value, so that what `apps.get` returns can be declared again. */
function withKeptSecrets(spec: AppSpec, before: AppSpec | undefined): AppSpec {
  const kept = (key: 'secrets' | 'build_secrets'): Record<string, string> =>
    Object.fromEntries(
      Object.entries(spec[key]).map(([name, value]) => {
        if (value !== maskedSecret) return [name, value];
        const values = before?.[key];
        // Names come from callers, and `constructor` is no value that was kept.
        const old = values !== undefined && Object.hasOwn(values, name) ? values[name] : undefined;
        if (old === undefined)
          throw new AppError(
            'app_invalid',
            `app ${spec.name}: ${key}.${name} is ${maskedSecret} and has no earlier value to keep`,
            {
              data: { app: spec.name, key },
            },
          );
        return [name, old];
      }),
    );
  return { ...spec, secrets: kept('secrets'), build_secrets: kept('build_secrets') };
}

function newApp(spec: AppSpec, input: PlanInput): AppRecord {
  return {
    name: spec.name,
    ...routeOfSpec(spec),
    live: 1,
    pending: null,
    good: null,
    kept: null,
    generation: 1,
    latest: 1,
    createdAt: input.now,
    updatedAt: input.now,
    versions: new Map([[1, versionRecord(1, spec, input)]]),
  };
}

function newVersion(record: AppRecord, spec: AppSpec, input: PlanInput): { app: AppRecord; added: VersionRecord } {
  const added = versionRecord(record.latest + 1, spec, input, declaredVersion(record));
  const { update } = resolveAppConfig(input.defaults, spec.config);
  // A volume has one writer, so the old version cannot answer while the new one starts.
  const behind = !update.hold && spec.volumes.length === 0 && input.isServing(spec.name);
  const app: AppRecord = {
    ...record,
    ...routeOfSpec(spec),
    live: behind ? record.live : added.version,
    pending: behind ? added.version : null,
    generation: record.generation + 1,
    latest: added.version,
    updatedAt: input.now,
  };
  return { app, added };
}

function versionRecord(version: number, spec: AppSpec, input: PlanInput, before?: VersionRecord): VersionRecord {
  const pin = pinOf(input, spec);
  return {
    version,
    spec,
    ...pin,
    ...(before !== undefined && hasSameImage(before, spec, pin)
      ? { imageDigest: before.imageDigest, imageTag: before.imageTag }
      : {}),
    outcome: 'declared',
    failure: null,
    timings: null,
    createdAt: input.now,
    createdBy: input.actor,
  };
}

/** The keys that determine the image of a source. A version that changes none of them has the image of the version before. */
const imageKeys = ['source', 'dir', 'build', 'build_secrets'] as const satisfies readonly (keyof AppSpec)[];

function hasSameImage(before: VersionRecord, spec: AppSpec, pin: Pin): boolean {
  return (
    spec.source !== undefined &&
    pin.sourceDigest !== null &&
    pin.sourceDigest === before.sourceDigest &&
    imageKeys.every((key) => isDeepStrictEqual(before.spec[key], spec[key])) &&
    // What a preset makes may be told its path.
    before.spec.path === spec.path &&
    before.spec.config.strip_path === spec.config.strip_path &&
    // The image that a preset makes for an app with a command may have no command of its own.
    (before.spec.command === undefined) === (spec.command === undefined)
  );
}

function pinOf(input: PlanInput, spec: AppSpec): Pin {
  const { imageDigest, sourceDigest, imageTag } = input.pins.get(spec.name) ?? noPin;
  return { imageDigest, sourceDigest, imageTag };
}

/** What the source of an event's version holds, where that is known. */
function sourceText(input: PlanInput, spec: AppSpec): string {
  const summary = input.pins.get(spec.name)?.sourceSummary;
  return summary === undefined ? '' : `; source: ${summary}`;
}

function routeOfSpec(spec: AppSpec): { host: string; path: string } {
  const route = parseRoute(spec.path);
  if (!route)
    throw new AppError('app_invalid', `app ${spec.name}: path ${spec.path} is not a route`, {
      data: { app: spec.name, key: 'path' },
    });
  return route;
}

/** Differences by top-level key. A digest that cannot be looked up now counts as unchanged: an unavailable registry must not make a version. */
function differences(from: VersionRecord, spec: AppSpec, pin: Pin): PlannedChange['fields'] {
  const fields: PlannedChange['fields'] = [];
  const keys = new Set([...Object.keys(from.spec), ...Object.keys(spec)]) as Set<keyof AppSpec>;
  for (const key of keys) {
    if (isDeepStrictEqual(from.spec[key], spec[key])) continue;
    if (key === 'secrets' || key === 'build_secrets')
      fields.push({ key, from: Object.keys(from.spec[key]), to: Object.keys(spec[key]) });
    else fields.push({ key, from: from.spec[key] ?? null, to: spec[key] ?? null });
  }
  for (const key of ['imageDigest', 'sourceDigest'] as const) {
    if (from[key] !== null && pin[key] !== null && from[key] !== pin[key])
      fields.push({ key, from: from[key], to: pin[key] });
  }
  return fields;
}

function refuseConflicts(records: ReadonlyMap<string, AppRecord>, changed: readonly AppRecord[]): void {
  const after = new Map(records);
  for (const app of changed) after.set(app.name, app);
  const owners = new Map<string, string>();
  const changedNames = new Set(changed.map((app) => app.name));
  for (const { name, host, path } of after.values()) {
    const route = host + path;
    const other = owners.get(route);
    if (other === undefined) {
      owners.set(route, name);
      continue;
    }
    const [declared, holder] = changedNames.has(name) ? [name, other] : [other, name];
    throw new AppError(
      'route_conflict',
      `app ${declared}: path ${route} already leads to app ${holder}; choose another path or delete that app`,
      {
        data: { app: declared, key: 'path', holder },
      },
    );
  }
}
