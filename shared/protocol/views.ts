/** What the agent tells people and tools of apps, versions and events. Times are ISO 8601, UTC. */
import { z } from 'zod';
import { appName, appSpec } from './app-spec.ts';
import { startTimings } from './routes.ts';

const timestamp = z.string();

/** Why a version does not run; `logs` are the app's last lines, oldest first. */
export const failure = z.strictObject({
  code: z.string(),
  phase: z.string(),
  owner: z.enum(['caller', 'app', 'platform', 'holdfast']),
  message: z.string(),
  logs: z.array(z.string()),
  at: timestamp,
});
export type Failure = z.output<typeof failure>;

/** asleep: nothing runs · starting: being made to run · ready: answers calls · draining: on its way to zero · failed. */
const appState = z.enum(['asleep', 'starting', 'ready', 'draining', 'failed']);

export const appView = z.strictObject({
  name: appName,
  path: z.string(),
  state: appState,
  liveVersion: z.int().positive(),
  /** A newer version that waits for the next call, or is being started, while `liveVersion` answers. */
  pendingVersion: z.int().positive().nullable(),
  /** The spec of the live version; the values of `secrets` and `build_secrets` are replaced by `***`. */
  spec: appSpec,
  targets: z.int().nonnegative(),
  /** Why it runs whether it is called or not; null: it goes to zero when it is idle. */
  keptAwake: z.enum(['min_replicas', 'running_hours']).nullable(),
  /** Why the live version does not run, or else why the newest one is not live. */
  failure: failure.nullable(),
  /** The version that `failure` is of. */
  failedVersion: z.int().positive().nullable(),
  createdAt: timestamp,
  updatedAt: timestamp,
});
export type AppView = z.output<typeof appView>;

export const versionView = z.strictObject({
  app: appName,
  version: z.int().positive(),
  live: z.boolean(),
  /** declared: never started · the states of an app · failed: see `failure` · superseded: a newer one is or was live. */
  state: z.enum(['declared', 'asleep', 'starting', 'ready', 'draining', 'failed', 'superseded']),
  image: z.string().nullable(),
  imageDigest: z.string().nullable(),
  source: z.string().nullable(),
  /** `git:<commit>`, or `sha256:<digest>` of an upload or a folder. */
  sourceDigest: z.string().nullable(),
  /** Tag of the image that was built of the source; equal inputs have equal tags, whichever app. */
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
  /** Name of the token, or `holdfast` for what the agent does by itself. */
  actor: z.string(),
  app: z.string().nullable(),
  version: z.int().nullable(),
  kind: z.string(),
  message: z.string(),
});
export type EventView = z.output<typeof eventView>;

export const logLine = z.strictObject({
  /** Pod or process that wrote it. */
  instance: z.string(),
  version: z.int().positive(),
  line: z.string(),
});
export type LogLine = z.output<typeof logLine>;

/**
 * A build of an image, one per tag: queued · running · succeeded · failed (see `failure`) · cancelled (nobody wanted it any
 * more).
 */
export const buildView = z.strictObject({
  tag: z.string(),
  /** The app and version that first asked for it. */
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

/** An image that was built, and which versions it is of. */
export const imageView = z.strictObject({
  tag: z.string(),
  digest: z.string().nullable(),
  builtAt: timestamp.nullable(),
  versions: z.array(z.strictObject({ app: appName, version: z.int().positive() })),
  /** A version that is live, pending or kept for a rollback runs it: never pruned. */
  inUse: z.boolean(),
});
export type ImageView = z.output<typeof imageView>;

export const change = z.strictObject({
  app: appName,
  action: z.enum(['create', 'update', 'unchanged']),
  /** The version that is (with dryRun: would be) live afterwards. */
  version: z.int().positive(),
  /** What differs from the live version; values of secrets are never shown. */
  fields: z.array(z.strictObject({ key: z.string(), from: z.unknown(), to: z.unknown() })),
});
export type Change = z.output<typeof change>;
