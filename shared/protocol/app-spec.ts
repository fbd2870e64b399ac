/**
 * The declaration of an app: the keys of `[[app]]` in the app file and of `apps.apply`. Keys are snake_case in both, so a TOML app file and
 * its JSON have the same shape.
 */
import { z } from 'zod';
import { appConfigOverrides, quantity } from './app-config.ts';
import { innerPath, settingKeys } from './build-settings.ts';

const envName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,252}$/, 'must be an environment variable name');
const envTable = z
  .record(envName, z.string().max(65_536))
  .refine((table) => Object.keys(table).length <= 256, 'at most 256 entries');

/** Of the name of an app, which is a label of a host. */
const maxNameLength = 63;

export const appName = z
  .string()
  .regex(
    /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/,
    'must be 1 to 63 of a-z, 0-9 and -, begin with a letter and not end with -',
  );

export const hostPattern = /^(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const pathPattern = /^(\/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*\/?$/;

/** The segment below the path of an app for which the router answers itself (waiting pages). */
export const reservedSegment = '.holdfast';

/** A route as declared: `/x`, `host.example/x`, `*.example/x`. Split it with `parseRoute`. */
export const routePath = z
  .string()
  .min(1)
  .max(512)
  .refine(
    (value) => parseRoute(value) !== undefined,
    'must be /path, host/path or *.domain/path, without query, dot segments, empty segments or the segment .holdfast',
  );

/** @returns host (`''` any, lower case) and path (`/` or `/a/b`, no trailing slash), or undefined when malformed. */
export function parseRoute(value: string): { host: string; path: string } | undefined {
  const slash = value.indexOf('/');
  const host = (slash < 0 ? value : value.slice(0, slash)).toLowerCase();
  const rawPath = slash < 0 ? '/' : value.slice(slash);
  if (host !== '' && (host.length > 253 || !hostPattern.test(host))) return undefined;
  if (!pathPattern.test(rawPath)) return undefined;
  if (rawPath.split('/').some((segment) => ['.', '..', reservedSegment].includes(segment))) return undefined;
  const path = rawPath.length > 1 && rawPath.endsWith('/') ? rawPath.slice(0, -1) : rawPath;
  return { host, path };
}

/** A domain below which apps get hosts of their own: not an address, below which no name resolves. */
export const domainName = z
  .string()
  .max(253 - '.'.length - maxNameLength)
  .transform((value) => value.toLowerCase())
  .pipe(z.string().regex(hostPattern, 'must be a domain such as apps.example'))
  .refine((value) => !value.startsWith('*.'), 'must be a domain without `*.`: apps get hosts directly below it')
  .refine((value) => !/(^|\.)\d+$/.test(value), 'must be a domain, not an IP address');

/** The app with a route: the declared one, else the host of its own; undefined without a domain for that. */
export function withRoute(app: DeclaredApp, defaultDomain: string | undefined): AppSpec | undefined {
  if (app.path !== undefined) return { ...app, path: app.path };
  return defaultDomain === undefined ? undefined : { ...app, path: `${app.name}.${defaultDomain}` };
}

const volume = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, 'must be 1 to 32 of a-z, 0-9 and -')
    .describe('Name of the volume, unique in the app.'),
  path: z
    .string()
    .regex(/^\/[^\0]{1,254}$/, 'must be an absolute path')
    .describe('Path at which the volume is mounted in the app.'),
  size: quantity.optional().describe('Size of the volume. Default: `kubernetes.default_volume_size`.'),
});

/** Build arguments, bounded by what `ARG` of a Dockerfile, command lines and Secrets can hold. */
const buildArgs = z
  .record(
    z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'must be an argument name: letters, digits and _'),
    z.string().max(8_192),
  )
  .refine((table) => Object.keys(table).length <= 64, 'at most 64 entries');

/** How an image is built from a source. */
const build = z.strictObject({
  dockerfile: innerPath.default('Dockerfile').describe('Path of the Dockerfile, relative to `dir`.'),
  args: buildArgs.default({}).describe('Build arguments.'),
  target: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'must be the name of a build stage')
    .optional()
    .describe('Stage of the Dockerfile to build. Default: the last one.'),
  ...settingKeys,
});

/** Shown in place of the value of a secret. Declaring it keeps the value. */
export const maskedSecret = '***';

/** The kind of a `source`, by its form: a git URL, an upload of `holdfast deploy`, or a folder. */
export type SourceKind = 'git' | 'upload' | 'folder';
export function sourceKind(source: string): SourceKind {
  if (source.startsWith('upload:')) return 'upload';
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(source) || /^[\w.-]+@[\w.-]+:(?!\/\/)/.test(source) ? 'git' : 'folder';
}

/** One `[[app]]` as people declare it. */
export const declaredApp = z
  .strictObject({
    name: appName.describe('Unique name of the app.'),
    path: routePath
      .optional()
      .describe(
        'Route of the app: `host.example`, `/x`, `host.example/x` or `*.example/x`. Default: `<name>.<default_domain>`, a host of its own, if the agent has a `default_domain`.',
      ),
    image: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._\-/:@]{0,511}$/, 'must be an image reference')
      .optional()
      .describe('Image to run instead of a source (Kubernetes only).'),
    source: z
      .string()
      .min(1)
      .max(2_048)
      .regex(/^[^\0\n\r]+$/, 'must be one line')
      .refine(
        (value) => sourceKind(value) !== 'git' || /^(https|ssh|file|http):\/\/|^[\w.-]+@/i.test(value),
        'a git URL begins with https://, ssh:// or file://, or is user@host:path',
      )
      .refine(
        (value) => sourceKind(value) !== 'upload' || /^upload:sha256:[0-9a-f]{64}$/.test(value),
        'an upload is upload:sha256:<digest>, as `holdfast deploy` writes it',
      )
      .optional()
      .describe(
        'What to build and run: a git URL, an upload of `holdfast deploy`, or a folder (embedded default only).',
      ),
    ref: z
      .string()
      .regex(/^(?!-)(?!.*\.\.)[^\s~^:?*[\\\0]{1,255}$/, 'must be a branch, tag or commit')
      .optional()
      .describe('Branch, tag or commit of a git source. Default: its HEAD.'),
    dir: innerPath.optional().describe('Sub-folder of the source that contains the app.'),
    git_auth: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,63}$/, 'must be the name of a [[git_auth]]')
      .optional()
      .describe('Name of the `[[git_auth]]` of the agent whose credentials are used to fetch a git source.'),
    auto_sync: z
      .boolean()
      .default(false)
      .describe('Look up the ref of a git source at intervals, and make a new version when it has moved.'),
    build: build.prefault({}).describe('How the image is built from the source.'),
    build_secrets: buildArgs
      .default({})
      .describe(
        'Build arguments that are kept secret: they appear in no log, command line or API object that others can read.',
      ),
    port: z.int().min(1).max(65_535).default(8080).describe('Port on which the app listens. The app gets it as PORT.'),
    protocol: z
      .enum(['http1', 'h2c'])
      .default('http1')
      .describe('Protocol of the app on its port: `http1` (HTTP/1.1) or `h2c` (HTTP/2 without TLS, gRPC).'),
    command: z
      .array(z.string().max(4_096))
      .min(1)
      .max(64)
      .optional()
      .describe('Command and arguments to run instead of those of the image or the folder.'),
    env: envTable.default({}).describe('Environment variables.'),
    secrets: envTable
      .default({})
      .describe(
        'Environment variables that are kept secret: they are never shown, and stored in a Secret on Kubernetes.',
      ),
    cpus: quantity.optional().describe('CPU request.'),
    memory: quantity.optional().describe('Memory request and limit.'),
    min_replicas: z
      .int()
      .min(0)
      .max(1_000)
      .default(0)
      .describe(
        'Number of replicas that run once the app has been called. Above 0, the app never goes to zero, and new versions start without a call.',
      ),
    max_replicas: z
      .int()
      .min(1)
      .max(1_000)
      .optional()
      .describe(
        'Maximum number of replicas. Default: the larger of 1 and min_replicas. If it is larger, an autoscaler is created.',
      ),
    volumes: z.array(volume).max(16).default([]).describe('Volumes, which all versions share.'),
    health_url: z
      .string()
      .regex(/^\/[^\s#]{0,1023}$/, 'must be a path such as /healthz')
      .optional()
      .describe(
        'Path that answers 2xx or 3xx when the app is ready. Without it, the app is ready when it answers a GET of / by HTTP, whatever the status.',
      ),
    config: appConfigOverrides.default({}).describe('Overrides of `[app_config]`.'),
  })
  .refine((spec) => (spec.image === undefined) !== (spec.source === undefined), {
    message: 'exactly one of image and source must be given',
    path: ['image'],
  })
  .refine((spec) => !spec.auto_sync || isGit(spec), {
    message: 'only a git source can be synced',
    path: ['auto_sync'],
  })
  .refine((spec) => spec.ref === undefined || isGit(spec), { message: 'only a git source has refs', path: ['ref'] })
  .refine((spec) => spec.git_auth === undefined || isGit(spec), {
    message: 'only a git source is fetched with credentials',
    path: ['git_auth'],
  })
  .refine((spec) => spec.dir === undefined || spec.source !== undefined, {
    message: 'only a source has sub-folders',
    path: ['dir'],
  })
  .refine((spec) => Object.keys(spec.build_secrets).every((key) => !Object.hasOwn(spec.build.args, key)), {
    message: 'a key is both in build.args and in build_secrets',
    path: ['build_secrets'],
  })
  .refine((spec) => (spec.max_replicas ?? 1_000) >= spec.min_replicas, {
    message: 'must not be below min_replicas',
    path: ['max_replicas'],
  })
  .refine((spec) => spec.volumes.length === 0 || (spec.min_replicas <= 1 && (spec.max_replicas ?? 1) === 1), {
    message: 'an app with volumes runs one replica',
    path: ['max_replicas'],
  })
  .refine((spec) => new Set(spec.volumes.map((v) => v.name)).size === spec.volumes.length, {
    message: 'volume names must differ',
    path: ['volumes'],
  })
  .refine((spec) => Object.keys(spec.secrets).every((key) => !Object.hasOwn(spec.env, key)), {
    message: 'a key is both in env and in secrets',
    path: ['secrets'],
  });
export type DeclaredApp = z.output<typeof declaredApp>;
export type DeclaredAppInput = z.input<typeof declaredApp>;

/** An app as the agent keeps and shows it: with its route. */
export const appSpec = declaredApp.safeExtend({ path: routePath.describe('Route of the app.') });
export type AppSpec = z.output<typeof appSpec>;

function isGit(spec: { readonly source?: string | undefined }): boolean {
  return spec.source !== undefined && sourceKind(spec.source) === 'git';
}
export type AppSpecInput = z.input<typeof appSpec>;
