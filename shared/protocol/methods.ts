/**
 * The tables of all RPC methods: scopes, parameters, result and, for a method that streams, its items. `rpc.discover` and
 * the typed callers on both sides are derived from them. To add a method, declare it here and put its handler in
 * agent/handlers/.
 */
import { z } from 'zod';
import { appName, declaredApp } from './app-spec.ts';
import { routesItem, startTimings } from './routes.ts';
import { wakeCause } from './wake-cause.ts';
import {
  appView,
  auditView,
  buildLogLine,
  buildView,
  change,
  eventView,
  imageView,
  logLine,
  versionView,
  tokenView,
} from './views.ts';

export const subprotocol = 'holdfast.v1';
export const rpcPath = '/rpc';
/** A header of the handshake by which a process tells its links from those of another that uses the same name. */
export const instanceHeader = 'holdfast-instance';

export const scopes = ['router', 'read', 'deploy', 'admin'] as const;
export const scope = z.enum(scopes);
/** `admin` includes everything, `deploy` includes `read`, and `router` includes nothing else. */
export type Scope = z.output<typeof scope>;

export interface Method {
  readonly summary: string;
  /** A token with any of these scopes may call the method. */
  readonly scopes: readonly Scope[];
  readonly params: z.ZodType;
  readonly result: z.ZodType;
  /** Set if the method streams: the schema of each `rpc.item` sent before the result. */
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
  /** The build's position in the queue; 1 is next. */
  queue: z.strictObject({ position: z.int().positive(), of: z.int().positive() }).optional(),
});
export type EnsureProgress = z.output<typeof ensureProgress>;

const appActivity = z.strictObject({
  app: appName,
  held: z.int().nonnegative(),
  inFlight: z.int().nonnegative(),
  /** Upgraded connections (WebSocket) open now. */
  upgraded: z.int().nonnegative(),
  /** Calls since the last report. */
  calls: z.int().nonnegative(),
  /** Bytes since the last report. */
  bytes: z.int().nonnegative(),
  /** Milliseconds since a call last began or ended. */
  idleMs: z.number().nonnegative(),
});
export type AppActivity = z.output<typeof appActivity>;

/** Methods that the agent serves. */
export const agentMethods = {
  'apps.apply': {
    summary:
      'Creates apps or gives them a new version, all of them or none. Nothing starts until the next call to the app.',
    scopes: ['deploy'],
    params: z.strictObject({ apps: z.array(declaredApp).min(1).max(256), dryRun: z.boolean().default(false) }),
    result: z.strictObject({
      dryRun: z.boolean(),
      changes: z.array(change),
      /** How many routers acknowledged the change, and how many did not before their lease expired. */
      routers: z.strictObject({ acknowledged: z.int().nonnegative(), expired: z.int().nonnegative() }),
    }),
  },
  'apps.get': {
    summary: 'Returns one app.',
    scopes: ['read'],
    params: z.strictObject({ app: appName }),
    result: appView,
  },
  'apps.list': {
    summary: 'Lists all apps, sorted by name.',
    scopes: ['read'],
    params: none,
    result: z.strictObject({ apps: z.array(appView) }),
  },
  'apps.delete': {
    summary: 'Deletes an app and all its objects. Volumes are kept unless `volumes` is true.',
    scopes: ['deploy'],
    params: z.strictObject({ app: appName, volumes: z.boolean().default(false) }),
    result: z.strictObject({ app: appName, removed: z.array(z.string()) }),
  },
  'apps.sync': {
    summary: 'Resolves the ref of a git source now, and creates a new version if it has moved.',
    scopes: ['deploy'],
    params: z.strictObject({ app: appName }),
    result: z.strictObject({ change, sourceDigest: z.string() }),
  },
  'sources.begin': {
    summary:
      'Begins or resumes an upload and returns the missing parts. Send each to PUT /sources/<archive>/<part> with the same token, then call sources.complete.',
    scopes: ['deploy'],
    params: z.strictObject({ archive: sha256, bytes: z.int().positive() }),
    result: z.strictObject({
      partBytes: z.int().positive(),
      missing: z.array(z.int().nonnegative()),
      /** The source if the upload is already complete, else null. */
      source: z.string().nullable(),
    }),
  },
  'sources.complete': {
    summary: 'Verifies and stores the uploaded archive (tar.gz). Use the returned `source` as the `source` of an app.',
    scopes: ['deploy'],
    params: z.strictObject({ archive: sha256 }),
    result: z.strictObject({
      source: z.string(),
      files: z.int().nonnegative(),
      bytes: z.int().nonnegative(),
    }),
  },
  'builds.list': {
    summary: 'Lists builds, newest first.',
    scopes: ['read'],
    params: z.strictObject({ app: appName.optional(), limit: z.int().min(1).max(1_000).default(50) }),
    result: z.strictObject({ builds: z.array(buildView) }),
  },
  'builds.logs': {
    summary: "Streams the build log of an app's version, by default the newest. With `follow`, until the build ends.",
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
    summary: 'Lists the built images that are in the registry, newest first.',
    scopes: ['read'],
    params: z.strictObject({ app: appName.optional() }),
    result: z.strictObject({ images: z.array(imageView) }),
  },
  'images.prune': {
    summary:
      'Deletes images that none of the newest `keep` versions of any app uses. An image in use is never deleted.',
    scopes: ['deploy'],
    params: z.strictObject({ keep: z.int().min(1).max(1_000).optional(), dryRun: z.boolean().default(false) }),
    result: z.strictObject({ dryRun: z.boolean(), pruned: z.array(imageView) }),
  },
  'versions.list': {
    summary: 'Lists the versions of an app, newest first.',
    scopes: ['read'],
    params: z.strictObject({ app: appName, limit: z.int().min(1).max(1_000).default(50) }),
    result: z.strictObject({ versions: z.array(versionView) }),
  },
  'versions.ensure': {
    summary: 'Makes a version run, by default the pending one or else the live one, and returns when it is ready.',
    scopes: ['router', 'deploy'],
    params: z.strictObject({
      app: appName,
      version: version.optional(),
      /** Targets that refused a connection; the agent checks them again. */
      suspects: z.array(z.string().max(128)).max(1_000).default([]),
      /** The call that made a router ask; it counts toward `wake.max_per_hour`. */
      cause: wakeCause.optional(),
    }),
    item: ensureProgress,
    result: z.strictObject({ app: appName, version, targets: z.int().nonnegative(), timings: startTimings }),
  },
  'versions.rollback': {
    summary: 'Makes an earlier version live again, by default the one before the live one.',
    scopes: ['deploy'],
    params: z.strictObject({ app: appName, version: version.optional() }),
    result: z.strictObject({ app: appName, version, from: version }),
  },
  'events.list': {
    summary: 'Lists events, newest first.',
    scopes: ['read'],
    params: z.strictObject({
      app: appName.optional(),
      /** Return only events with a smaller id, for paging. */
      before: z.int().positive().optional(),
      limit: z.int().min(1).max(1_000).default(100),
    }),
    result: z.strictObject({ events: z.array(eventView) }),
  },
  'tokens.whoami': {
    summary: 'Returns who the caller is.',
    scopes: ['read', 'router'],
    params: none,
    result: z.strictObject({ name: z.string(), scopes: z.array(scope), expires: z.string().nullable() }),
  },
  'tokens.list': {
    summary: 'Lists the tokens that may call, without their values.',
    scopes: ['admin'],
    params: none,
    result: z.strictObject({ tokens: z.array(tokenView) }),
  },
  'audit.list': {
    summary: 'Lists who asked for what, newest first: changes, reads of logs, uploads, webhooks, and what was refused.',
    scopes: ['admin'],
    params: z.strictObject({
      app: appName.optional(),
      actor: z.string().min(1).max(63).optional(),
      method: z.string().min(1).max(64).optional(),
      /** Return only what was refused or failed. */
      failed: z.boolean().default(false),
      since: z.iso.datetime({ offset: true }).optional(),
      /** Return only entries with a smaller id, for paging. */
      before: z.int().positive().optional(),
      limit: z.int().min(1).max(1_000).default(100),
    }),
    result: z.strictObject({ entries: z.array(auditView) }),
  },
  'logs.follow': {
    summary: "Streams log lines of an app's pods or processes.",
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
      'Streams the route table as a snapshot followed by deltas. The router acknowledges each with the notification routes.ack.',
    scopes: ['router'],
    params: z.strictObject({ router: z.string().min(1).max(253) }),
    item: routesItem,
    result: none,
  },
  'activity.report': {
    summary:
      'Reports what a router did for each app since its last report, without idle apps. With `more`, the next call continues the report.',
    scopes: ['router'],
    params: z.strictObject({
      router: z.string().min(1).max(253),
      apps: z.array(appActivity).max(100_000),
      more: z.boolean().default(false),
    }),
    result: none,
  },
  'system.status': {
    summary: 'Returns the state of the agent and its dependencies.',
    scopes: ['read'],
    params: none,
    result: z.strictObject({
      release: z.string(),
      platform: z.string(),
      /** The name of this agent in the lease. */
      leader: z.string(),
      epoch: z.int().nonnegative(),
      database: z.enum(['up', 'down']),
      apps: z.int().nonnegative(),
      /** Where callers reach the routers, and the domain of apps without a `path`; null if not configured. */
      publicUrl: z.string().nullable().default(null),
      defaultDomain: z.string().nullable().default(null),
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
    summary: 'Returns this interface as an OpenRPC document.',
    scopes: ['read'],
    params: none,
    result: z.looseObject({ openrpc: z.string() }),
  },
} as const satisfies Record<string, Method>;

/** Methods that the router serves. The agent calls them over the link that the router opened. */
export const routerMethods = {
  'targets.release': {
    summary:
      'Waits until targets that left the route table have no call in flight and no upgraded connection, for at most waitMs, and returns what is left.',
    scopes: ['router'],
    params: z.strictObject({
      app: appName,
      targets: z.array(z.string().max(128)).max(1_000),
      waitMs: z.number().nonnegative().max(3_600_000),
    }),
    result: z.strictObject({
      inFlight: z.int().nonnegative(),
      upgraded: z.int().nonnegative(),
      /** Whether the app has a call or an upgraded connection on any target, including removed ones. */
      busy: z.boolean().optional(),
      /** Bytes of the app that have not been reported yet. */
      bytes: z.int().nonnegative().optional(),
      /** Milliseconds since a call of the app last began or ended, if not reported yet. */
      idleMs: z.number().nonnegative().optional(),
    }),
  },
} as const satisfies Record<string, Method>;

/** Notifications that the agent accepts. */
export const agentNotifications = {
  'routes.ack': {
    summary: 'Tells the agent that the router applies this push to every later call.',
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
