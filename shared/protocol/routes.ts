/** What the agent pushes to routers: which route leads to which app, its live version and its targets. */
import { z } from 'zod';
import { wakeRule } from './app-config.ts';
import { appName } from './app-spec.ts';

/** An address that serves one version. `id` is unique per start: a pod UID or a process run. */
export const target = z.strictObject({
  id: z.string().min(1).max(128),
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535),
});
export type Target = z.output<typeof target>;

const milliseconds = z.number().nonnegative();

/** Duration of each step of the last start, in milliseconds; null or absent if the step did not happen. */
export const startTimings = z.strictObject({
  buildMs: milliseconds.nullable(),
  rolloutMs: milliseconds.nullable(),
  // The steps of the rollout, if the platform reports them.
  scheduleMs: milliseconds.optional(),
  /** From the choice of the node until the container runs, including the image pull. */
  pullMs: milliseconds.optional(),
  /** From then until the app answers. */
  startMs: milliseconds.optional(),
  /** From then until the stable address of the version leads to no other version. */
  switchMs: milliseconds.optional(),
});
export type StartTimings = z.output<typeof startTimings>;

/** What a caller of an app may learn about a failure: never logs, never secrets. */
export const publicFailure = z.strictObject({
  code: z.string().max(64),
  phase: z.string().max(32),
  owner: z.enum(['caller', 'app', 'platform', 'holdfast']),
});
export type PublicFailure = z.output<typeof publicFailure>;

/**
 * What the router does with a call:
 * - `ready`: forward it to one of `targets` (at least one). `pending` is a newer version that is started on the next
 *   call: the router requests it once with `versions.ensure` and keeps forwarding.
 * - `hold`: hold it, and request `version` with `versions.ensure`.
 * - `failed`: answer 502 with `failure`.
 */
export const serving = z.discriminatedUnion('state', [
  z.strictObject({
    state: z.literal('ready'),
    targets: z.array(target).min(1).max(1_000),
    pending: z.int().positive().nullable(),
    timings: startTimings,
  }),
  z.strictObject({ state: z.literal('hold'), reason: z.enum(['asleep', 'starting', 'updating', 'draining']) }),
  z.strictObject({ state: z.literal('failed'), failure: publicFailure }),
]);
export type Serving = z.output<typeof serving>;

/** A `holdMaxCalls` that leaves the limit to the router; larger than any that an app may set. */
export const holdLimitOfRouter = 1_000_000;

export const route = z.strictObject({
  app: appName,
  /** `''` matches any host, `a.example` that host, `*.example` any depth of subdomains. Lower case. */
  host: z.string().max(255),
  /** A path prefix, `/` or `/a/b`, that matches whole segments. */
  path: z.string().min(1).max(512),
  stripPath: z.boolean(),
  /** The version that receives calls. */
  version: z.int().positive(),
  serving,
  /** The maximum number of held calls per router; `holdLimitOfRouter`: half of what the router may hold. */
  holdMaxCalls: z.int().positive(),
  holdTimeoutMs: z.number().positive(),
  /** The maximum number of calls in flight per target; 0 means no limit. */
  maxConcurrency: z.int().nonnegative(),
  // The keys below are absent if unused, since there may be a hundred thousand routes.
  // What a stripped path is followed by, where the app has turned it off: see `strip_path` and its neighbours in app-config.ts.
  addSlash: z.literal(false).optional(),
  prefixLocations: z.literal(false).optional(),
  prefixCookies: z.literal(false).optional(),
  /** The maximum number of calls in flight for the app. */
  maxConcurrencyTotal: z.int().positive().optional(),
  /** How long a call may wait for a slot while targets are ready. */
  queueTimeoutMs: z.number().positive().optional(),
  /** The protocol of the targets, if it is not HTTP/1.1. */
  protocol: z.literal('h2c').optional(),
  upgradeMaxAgeMs: z.number().positive().optional(),
  waitingPage: z.literal(true).optional(),
  /** If absent, `defaultWakeRules` apply. */
  wakeRules: z.array(wakeRule).max(64).optional(),
});
export type Route = z.output<typeof route>;

/**
 * One push. `seq` grows by one per item of a watch, and the router acknowledges an item with `routes.ack` once it
 * applies to every later call. A watch begins with a snapshot, split into items that have `more: true` except for the
 * last; routes that it lacks are removed. It takes effect as a whole with the last item; acknowledgements of the others
 * show that the router makes progress. Deltas follow.
 */
export const routesItem = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('snapshot'),
    seq: z.int().nonnegative(),
    routes: z.array(route),
    more: z.boolean(),
  }),
  z.strictObject({
    kind: z.literal('delta'),
    seq: z.int().nonnegative(),
    upsert: z.array(route),
    remove: z.array(appName),
  }),
]);
export type RoutesItem = z.output<typeof routesItem>;
