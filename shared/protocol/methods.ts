/**
 * Every RPC method: its scope, parameters, result and, where it streams, its items. The agent's `rpc.discover` and the
 * typed callers on both sides come from these tables; a new method begins here, its handler goes to agent/handlers/.
 */
import { z } from 'zod';
import { appName, appSpec } from './app-spec.ts';
import { routesItem, startTimings } from './routes.ts';
import { wakeCause } from './wake-cause.ts';
import { appView, buildLogLine, buildView, change, eventView, imageView, logLine, versionView } from './views.ts';

/** WebSocket subprotocol. */
export const subprotocol = 'holdfast.v1';
/** Path of the RPC endpoint, for the WebSocket and for HTTP POST. */
export const rpcPath = '/rpc';

export const scopes = ['router', 'read', 'deploy', 'admin'] as const;
export const scope = z.enum(scopes);
/** `admin` may do all; `deploy` includes `read`; `router` stands alone. */
export type Scope = z.output<typeof scope>;

export interface Method {
  readonly summary: string;
  /** Any of these may call it. */
  readonly scopes: readonly Scope[];
  readonly params: z.ZodType;
  readonly result: z.ZodType;
  /** Present where the method streams: each `rpc.item` before the result. */
  readonly item?: z.ZodType;
}

const none = z.strictObject({});
const version = z.int().positive();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hex');

const ensureProgress = z.strictObject({
  app: appName,
  version,
  phase: z.enum(['queued', 'source', 'build', 'pull', 'schedule', 'start', 'switch', 'ready']),
  message: z.string(),
  /** Place of the build in the queue; 1 is the next one. */
  queue: z.strictObject({ position: z.int().positive(), of: z.int().positive() }).optional(),
});
export type EnsureProgress = z.output<typeof ensureProgress>;

const appActivity = z.strictObject({
  app: appName,
  /** Calls that wait, now. */
  held: z.int().nonnegative(),
  /** Calls being answered, now. */
  inFlight: z.int().nonnegative(),
  /** Upgraded connections (WebSocket), now. */
  upgraded: z.int().nonnegative(),
  /** Since the last report. */
  calls: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
  /** Milliseconds since a call last began or ended. */
  idleMs: z.number().nonnegative(),
});
export type AppActivity = z.output<typeof appActivity>;

/** Served by the agent. */
export const agentMethods = {
  'apps.apply': {
    summary:
      'Declares apps, all or none: creates them or gives them a new version. Nothing is started until the next call.',
    scopes: ['deploy'],
    params: z.strictObject({ apps: z.array(appSpec).min(1).max(256), dryRun: z.boolean().default(false) }),
    result: z.strictObject({
      dryRun: z.boolean(),
      changes: z.array(change),
      /** How many routers have acknowledged the change, and how many had their lease run out instead. */
      routers: z.strictObject({ acknowledged: z.int().nonnegative(), expired: z.int().nonnegative() }),
    }),
  },
  'apps.get': { summary: 'One app.', scopes: ['read'], params: z.strictObject({ app: appName }), result: appView },
  'apps.list': {
    summary: 'Every app, by name.',
    scopes: ['read'],
    params: none,
    result: z.strictObject({ apps: z.array(appView) }),
  },
  'apps.delete': {
    summary: 'Removes an app with every object of it; its volumes only with `volumes: true`.',
    scopes: ['deploy'],
    params: z.strictObject({ app: appName, volumes: z.boolean().default(false) }),
    result: z.strictObject({ app: appName, removed: z.array(z.string()) }),
  },
  'apps.sync': {
    summary: 'Resolves the ref of a git source now, and makes a new version where it has moved.',
    scopes: ['deploy'],
    params: z.strictObject({ app: appName }),
    result: z.strictObject({ change, sourceDigest: z.string() }),
  },
  'sources.begin': {
    summary:
      'Begins or resumes an upload: which parts of the archive are missing. Parts go to PUT /sources/<archive>/<part> with the same token; then sources.complete.',
    scopes: ['deploy'],
    params: z.strictObject({ archive: sha256, bytes: z.int().positive() }),
    result: z.strictObject({
      partBytes: z.int().positive(),
      missing: z.array(z.int().nonnegative()),
      /** The source, where it is complete already. */
      source: z.string().nullable(),
    }),
  },
  'sources.complete': {
    summary: 'Checks the archive (tar.gz) and keeps it. The result is what `source` of an app names.',
    scopes: ['deploy'],
    params: z.strictObject({ archive: sha256 }),
    result: z.strictObject({
      source: z.string(),
      files: z.int().nonnegative(),
      bytes: z.int().nonnegative(),
    }),
  },
  'builds.list': {
    summary: 'Builds, newest first.',
    scopes: ['read'],
    params: z.strictObject({ app: appName.optional(), limit: z.int().min(1).max(1_000).default(50) }),
    result: z.strictObject({ builds: z.array(buildView) }),
  },
  'builds.logs': {
    summary: "Log lines of the build of an app's version, by default the newest one; with follow until it ends.",
    scopes: ['read'],
    params: z.strictObject({
      app: appName,
      version: version.optional(),
      tail: z.int().min(0).max(1_000).default(200),
      follow: z.boolean().default(false),
    }),
    item: buildLogLine,
    result: z.strictObject({ build: buildView }),
  },
  'images.list': {
    summary: 'Images that were built and are in the registry, newest first.',
    scopes: ['read'],
    params: z.strictObject({ app: appName.optional() }),
    result: z.strictObject({ images: z.array(imageView) }),
  },
  'images.prune': {
    summary: 'Deletes images that no version within the newest `keep` of any app has; never one in use.',
    scopes: ['deploy'],
    params: z.strictObject({ keep: z.int().min(1).max(1_000).optional(), dryRun: z.boolean().default(false) }),
    result: z.strictObject({ dryRun: z.boolean(), pruned: z.array(imageView) }),
  },
  'versions.list': {
    summary: 'The versions of an app, newest first.',
    scopes: ['read'],
    params: z.strictObject({ app: appName, limit: z.int().min(1).max(1_000).default(50) }),
    result: z.strictObject({ versions: z.array(versionView) }),
  },
  'versions.ensure': {
    summary: 'Makes a version run (by default the live one, or the pending one) and ends when it answers.',
    scopes: ['router', 'deploy'],
    params: z.strictObject({
      app: appName,
      version: version.optional(),
      /** Targets that refused a connection: the agent looks at them again. */
      suspects: z.array(z.string().max(128)).max(1_000).default([]),
      /** The call that a router asks for; `wake.max_per_hour` counts for it. */
      cause: wakeCause.optional(),
    }),
    item: ensureProgress,
    result: z.strictObject({ app: appName, version, targets: z.int().nonnegative(), timings: startTimings }),
  },
  'versions.rollback': {
    summary: 'Makes an earlier version live again: the one before the live one, or the one named.',
    scopes: ['deploy'],
    params: z.strictObject({ app: appName, version: version.optional() }),
    result: z.strictObject({ app: appName, version, from: version }),
  },
  'events.list': {
    summary: 'What happened, newest first.',
    scopes: ['read'],
    params: z.strictObject({
      app: appName.optional(),
      /** Only events with a smaller id: the next page. */
      before: z.int().positive().optional(),
      limit: z.int().min(1).max(1_000).default(100),
    }),
    result: z.strictObject({ events: z.array(eventView) }),
  },
  'logs.follow': {
    summary: "Log lines of an app's pods or processes.",
    scopes: ['read'],
    params: z.strictObject({
      app: appName,
      version: version.optional(),
      tail: z.int().min(0).max(10_000).default(100),
      follow: z.boolean().default(false),
    }),
    item: logLine,
    result: none,
  },
  'routes.watch': {
    summary:
      'Pushes the route table: a snapshot, then deltas. The router acknowledges each with the notification routes.ack.',
    scopes: ['router'],
    params: z.strictObject({ router: z.string().min(1).max(253) }),
    item: routesItem,
    result: none,
  },
  'activity.report': {
    summary:
      'What a router did for each app since its last report; apps without activity are left out. With more, other apps follow in the next call.',
    scopes: ['router'],
    params: z.strictObject({
      router: z.string().min(1).max(253),
      apps: z.array(appActivity).max(100_000),
      more: z.boolean().default(false),
    }),
    result: none,
  },
  'system.status': {
    summary: 'State of the agent and of what it depends on.',
    scopes: ['read'],
    params: none,
    result: z.strictObject({
      release: z.string(),
      platform: z.string(),
      /** This agent, as the lease names it. */
      leader: z.string(),
      epoch: z.int().nonnegative(),
      database: z.enum(['up', 'down']),
      apps: z.int().nonnegative(),
      routers: z.array(
        z.strictObject({
          router: z.string(),
          connectedSecs: z.number().nonnegative(),
          sentSeq: z.int().nonnegative(),
          ackedSeq: z.int().nonnegative(),
        }),
      ),
    }),
  },
  'rpc.discover': {
    summary: 'This interface as an OpenRPC document.',
    scopes: ['read'],
    params: none,
    result: z.looseObject({ openrpc: z.string() }),
  },
} as const satisfies Record<string, Method>;

/** Served by the router, called by the agent on the link that the router made. */
export const routerMethods = {
  'targets.release': {
    summary:
      'Asks whether targets that the route table no longer names are free: answers as soon as no call is in flight and no connection upgraded on them, or after waitMs with what is left.',
    scopes: ['router'],
    params: z.strictObject({
      app: appName,
      targets: z.array(z.string().max(128)).max(1_000),
      waitMs: z.number().nonnegative().max(3_600_000),
    }),
    result: z.strictObject({
      inFlight: z.int().nonnegative(),
      upgraded: z.int().nonnegative(),
      /** Whether the app has a call or an upgraded connection on any target, also one that it no longer has. */
      busy: z.boolean().optional(),
      /** Of the app, not reported yet. */
      bytes: z.int().nonnegative().optional(),
      /** Milliseconds since a call of the app last began or ended, where that is not reported yet. */
      idleMs: z.number().nonnegative().optional(),
    }),
  },
} as const satisfies Record<string, Method>;

/** Notifications that the agent takes. */
export const agentNotifications = {
  'routes.ack': {
    summary: 'The router treats every later call by this push.',
    scopes: ['router'],
    params: z.strictObject({ seq: z.int().nonnegative() }),
  },
} as const;

export type MethodTable = Readonly<Record<string, Method>>;
export type AgentMethods = typeof agentMethods;
export type RouterMethods = typeof routerMethods;
export type ParamsOf<M extends Method> = z.output<M['params']>;
export type ParamsInputOf<M extends Method> = z.input<M['params']>;
export type ResultOf<M extends Method> = z.output<M['result']>;
export type ItemOf<M extends Method> = M['item'] extends z.ZodType ? z.output<M['item']> : never;
