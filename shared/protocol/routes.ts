/** What the agent pushes to routers: which route leads to which app, its live version and where that can be reached. */
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

/** Milliseconds each step of the last start took; null, or absent, where the step did not happen. */
export const startTimings = z.strictObject({
  buildMs: milliseconds.nullable(),
  rolloutMs: milliseconds.nullable(),
  // What the rollout consists of, as far as the platform tells.
  scheduleMs: milliseconds.optional(),
  /** From the choice of the node until the container runs, the pull of its image included. */
  pullMs: milliseconds.optional(),
  /** Until it answers. */
  startMs: milliseconds.optional(),
  /** Until its stable address leads to no other version. */
  switchMs: milliseconds.optional(),
});
export type StartTimings = z.output<typeof startTimings>;

/** What a caller of an app may learn of a failure: never logs, never secrets. */
export const publicFailure = z.strictObject({
  code: z.string().max(64),
  phase: z.string().max(32),
  owner: z.enum(['caller', 'app', 'platform', 'holdfast']),
});
export type PublicFailure = z.output<typeof publicFailure>;

/**
 * What to do with a call:
 * - `ready`: forward to one of `targets` (at least one). With `pending`, a newer version waits for a call to be started:
 *   the router asks for it with `versions.ensure` once and goes on forwarding.
 * - `hold`: wait, and ask for `version` with `versions.ensure`.
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

export const route = z.strictObject({
  app: appName,
  /** `''` any host, `a.example` exact, `*.example` any depth below. Lower case. */
  host: z.string().max(255),
  /** `/` or `/a/b`: matches whole segments. */
  path: z.string().min(1).max(512),
  stripPath: z.boolean(),
  /** The version that calls get. */
  version: z.int().positive(),
  serving,
  holdMaxCalls: z.int().positive(),
  holdTimeoutMs: z.number().positive(),
  /** Calls in flight per target at most; 0 is no limit. */
  maxConcurrency: z.int().nonnegative(),
  // Absent where they are not used, since there may be a hundred thousand routes.
  /** Calls in flight of the app at most. */
  maxConcurrencyTotal: z.int().positive().optional(),
  /** How long a call may wait for room where targets are ready. */
  queueTimeoutMs: z.number().positive().optional(),
  /** What its targets speak instead of HTTP/1.1. */
  protocol: z.literal('h2c').optional(),
  upgradeMaxAgeMs: z.number().positive().optional(),
  waitingPage: z.literal(true).optional(),
  /** Absent: `defaultWakeRules`. */
  wakeRules: z.array(wakeRule).max(64).optional(),
});
export type Route = z.output<typeof route>;

/**
 * One push. `seq` grows by one per item of a watch, and the router acknowledges it with `routes.ack` once every later
 * call is treated by it. A watch begins with a snapshot, cut into items with `more: true` until the last; routes absent
 * from it are gone. It takes effect as a whole with the last item; the others are acknowledged as they are taken, which says
 * that the router makes progress. Then deltas.
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
