/** What the agent reports about apps, versions and events to people and tools. Times are ISO 8601 in UTC. */
import { z } from 'zod';
import { appName, appSpec } from './app-spec.ts';
import { startTimings } from './routes.ts';

const timestamp = z.string();

/** The reason why a version is not running; `logs` are the last lines of the app, oldest first. */
export const failure = z.strictObject({
  code: z.string(),
  phase: z.string(),
  owner: z.enum(['caller', 'app', 'platform', 'holdfast']),
  message: z.string(),
  logs: z.array(z.string()),
  at: timestamp,
});
export type Failure = z.output<typeof failure>;

/** asleep: nothing is running · starting: being started · ready: answers calls · draining: scaling to zero · failed. */
const appState = z.enum(['asleep', 'starting', 'ready', 'draining', 'failed']);

export const appView = z.strictObject({
  name: appName,
  path: z.string(),
  /** Where callers reach the app; null if that is not known: the agent has no `public_url`, or the route is `*.domain`. */
  url: z.string().nullable().default(null),
  state: appState,
  liveVersion: z.int().positive(),
  /** A newer version that is being started, or will be on the next call, while `liveVersion` answers. */
  pendingVersion: z.int().positive().nullable(),
  /** The spec of the live version; the values of `secrets` and `build_secrets` are replaced by `***`. */
  spec: appSpec,
  targets: z.int().nonnegative(),
  /** Why the app keeps running when it is idle; null if it then scales to zero. */
  keptAwake: z.enum(['min_replicas', 'running_hours']).nullable(),
  /** Why the live version is not running, or else why the newest version is not live. */
  failure: failure.nullable(),
  /** The version that `failure` refers to. */
  failedVersion: z.int().positive().nullable(),
  createdAt: timestamp,
  updatedAt: timestamp,
});
export type AppView = z.output<typeof appView>;

export const versionView = z.strictObject({
  app: appName,
  version: z.int().positive(),
  live: z.boolean(),
  /** declared: never started · failed: see `failure` · superseded: a newer one is or was live · others as for apps. */
  state: z.enum(['declared', 'asleep', 'starting', 'ready', 'draining', 'failed', 'superseded']),
  image: z.string().nullable(),
  imageDigest: z.string().nullable(),
  source: z.string().nullable(),
  /** The source's digest: `git:<commit>`, or `sha256:<digest>` of an upload or a folder. */
  sourceDigest: z.string().nullable(),
  /** The tag of the image built from the source; equal inputs have equal tags, even across apps. */
  imageTag: z.string().nullable(),
  timings: startTimings.nullable(),
  failure: failure.nullable(),
  createdAt: timestamp,
  createdBy: z.string(),
});
export type VersionView = z.output<typeof versionView>;

export const eventView = z.strictObject({
  id: z.int(),
  at: timestamp,
  /** The name of the token, or `holdfast` for what the agent does itself. */
  actor: z.string(),
  app: z.string().nullable(),
  version: z.int().nullable(),
  kind: z.string(),
  message: z.string(),
});
export type EventView = z.output<typeof eventView>;

export const tokenView = z.strictObject({
  name: z.string(),
  scopes: z.array(z.string()),
  /** How many values it has: two while one replaces the other. */
  values: z.int(),
  expires: z.string().nullable(),
  /** Since this agent was started. */
  lastUsedAt: timestamp.nullable(),
});
export type TokenView = z.output<typeof tokenView>;

export const auditView = z.strictObject({
  id: z.int(),
  at: timestamp,
  /** The name of the token; null where there was none, or an unknown one. */
  actor: z.string().nullable(),
  /** The address that the request came from. */
  address: z.string(),
  requestId: z.string(),
  /** The RPC method, or what was asked for by HTTP. */
  method: z.string(),
  app: z.string().nullable(),
  /** `ok`, or the code of the error. */
  outcome: z.string(),
  /** What changed, without values. */
  detail: z.string(),
});
export type AuditView = z.output<typeof auditView>;

export const logLine = z.strictObject({
  /** The pod or process that wrote the line. */
  instance: z.string(),
  version: z.int().positive(),
  line: z.string(),
});
export type LogLine = z.output<typeof logLine>;

/**
 * A build of an image, one per tag: queued · running · succeeded · failed (see `failure`) · cancelled (no longer
 * wanted).
 */
export const buildView = z.strictObject({
  tag: z.string(),
  /** The app and version that requested the build first. */
  app: appName,
  version: z.int().positive(),
  state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
  builder: z.string(),
  imageDigest: z.string().nullable(),
  failure: failure.nullable(),
  queuedAt: timestamp,
  startedAt: timestamp.nullable(),
  endedAt: timestamp.nullable(),
});
export type BuildView = z.output<typeof buildView>;

export const buildLogLine = z.strictObject({ tag: z.string(), line: z.string() });
export type BuildLogLine = z.output<typeof buildLogLine>;

/** An image that was built, and the versions that use it. */
export const imageView = z.strictObject({
  tag: z.string(),
  digest: z.string().nullable(),
  builtAt: timestamp.nullable(),
  versions: z.array(z.strictObject({ app: appName, version: z.int().positive() })),
  /** Whether a version that is live, pending or kept for a rollback uses the image; it is then never pruned. */
  inUse: z.boolean(),
});
export type ImageView = z.output<typeof imageView>;

export const change = z.strictObject({
  app: appName,
  action: z.enum(['create', 'update', 'unchanged']),
  /** The version that is live afterwards (with dryRun: that would be). */
  version: z.int().positive(),
  /** The differences from the live version; values of secrets are never shown. */
  fields: z.array(z.strictObject({ key: z.string(), from: z.unknown(), to: z.unknown() })),
  /** Where callers reach the app afterwards; null if that is not known. */
  url: z.string().nullable().default(null),
});
export type Change = z.output<typeof change>;
/** A change without the URL, which depends on how callers reach the routers. */
export type PlannedChange = Omit<Change, 'url'>;
