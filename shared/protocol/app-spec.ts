/**
 * What an app declares: the keys of `[[app]]` in the app file and of `apps.apply`. Keys are snake_case in both, so a TOML app file
 * and its JSON are the same thing.
 */
import { z } from 'zod';
import { appConfigOverrides, quantity } from './app-config.ts';

const envName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,252}$/, 'must be an environment variable name');
const envTable = z
  .record(envName, z.string().max(65_536))
  .refine((table) => Object.keys(table).length <= 256, 'at most 256 entries');

export const appName = z
  .string()
  .regex(
    /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/,
    'must be 1 to 63 of a-z, 0-9 and -, begin with a letter and not end with -',
  );

const hostPattern = /^(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
const pathPattern = /^(\/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*\/?$/;

/** Below the path of an app, what the router answers itself (waiting pages). */
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

const volume = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, 'must be 1 to 32 of a-z, 0-9 and -')
    .describe('Name of the volume, unique in the app.'),
  path: z
    .string()
    .regex(/^\/[^\0]{1,254}$/, 'must be an absolute path')
    .describe('Where the app finds it.'),
  size: quantity.optional().describe('Its size, by default `kubernetes.default_volume_size`.'),
});

/** What `ARG` of a Dockerfile takes, and what command lines and Secrets have room for. */
const buildArgs = z
  .record(
    z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'must be an argument name: letters, digits and _'),
    z.string().max(8_192),
  )
  .refine((table) => Object.keys(table).length <= 64, 'at most 64 entries');

/** Path inside a source: no `..`, not absolute. */
const innerPath = z
  .string()
  .min(1)
  .max(512)
  .regex(/^(?!\/)(?!.*(^|\/)\.\.?(\/|$))[^\0\\\n\r]+$/, 'must be a relative path without . and .. segments');

export const presets = ['node', 'python', 'go', 'static'] as const;
export const presetName = z.enum(presets);
export type PresetName = z.output<typeof presetName>;

/** How an image is made of a source. */
const build = z.strictObject({
  dockerfile: innerPath.default('Dockerfile').describe('Dockerfile, relative to `dir`.'),
  preset: presetName
    .optional()
    .describe('Preset to use instead of a Dockerfile; without it one is chosen where there is no Dockerfile.'),
  args: buildArgs.default({}).describe('Build arguments.'),
  target: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'must be the name of a build stage')
    .optional()
    .describe('Stage of the Dockerfile to build, by default the last one.'),
});

/** What is shown in place of a secret's value; declared again, it keeps the value. */
export const maskedSecret = '***';

/** What a `source` is, by its form: a git URL, an upload of `holdfast deploy`, or a folder. */
export type SourceKind = 'git' | 'upload' | 'folder';
export function sourceKind(source: string): SourceKind {
  if (source.startsWith('upload:')) return 'upload';
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(source) || /^[\w.-]+@[\w.-]+:(?!\/\/)/.test(source) ? 'git' : 'folder';
}

/** One `[[app]]`. */
export const appSpec = z
  .strictObject({
    name: appName.describe('Name of the app, unique.'),
    path: routePath.describe('Route: /x, host.example/x or *.example/x.'),
    image: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._\-/:@]{0,511}$/, 'must be an image reference')
      .optional()
      .describe('Image to run (Kubernetes), instead of a source.'),
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
        'What to build and run: a git URL, an upload made by `holdfast deploy`, or (embedded default) a folder.',
      ),
    ref: z
      .string()
      .regex(/^(?!-)(?!.*\.\.)[^\s~^:?*[\\\0]{1,255}$/, 'must be a branch, tag or commit')
      .optional()
      .describe('Branch, tag or commit of a git source, by default its HEAD.'),
    dir: innerPath.optional().describe('Sub-folder of the source that holds the app.'),
    git_auth: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,63}$/, 'must be the name of a [[git_auth]]')
      .optional()
      .describe('Name of the `[[git_auth]]` of the agent that a git source is fetched with.'),
    auto_sync: z
      .boolean()
      .default(false)
      .describe('Look for new commits of a git source by itself, and make a new version when its ref has moved.'),
    build: build.prefault({}).describe('How the image of a source is made.'),
    build_secrets: buildArgs
      .default({})
      .describe('Build arguments that are kept secret: in no log, command line or API object that others read.'),
    port: z.int().min(1).max(65_535).default(8080).describe('Port the app listens on; told to it as PORT.'),
    protocol: z
      .enum(['http1', 'h2c'])
      .default('http1')
      .describe('What the app speaks on its port: HTTP/1.1, or HTTP/2 without TLS (gRPC).'),
    command: z
      .array(z.string().max(4_096))
      .min(1)
      .max(64)
      .optional()
      .describe('Command and arguments instead of what the image or the folder says.'),
    env: envTable.default({}).describe('Environment.'),
    secrets: envTable
      .default({})
      .describe('Environment that is kept secret: never shown again, a Secret in Kubernetes.'),
    cpus: quantity.optional().describe('CPU request.'),
    memory: quantity.optional().describe('Memory request and limit.'),
    min_replicas: z
      .int()
      .min(0)
      .max(1_000)
      .default(0)
      .describe(
        'Replicas that run once the app has been called; above 0 it never goes to zero, and new versions start without a call.',
      ),
    max_replicas: z
      .int()
      .min(1)
      .max(1_000)
      .optional()
      .describe('Replicas at most, by default the larger of 1 and min_replicas; above that an autoscaler is made.'),
    volumes: z.array(volume).max(16).default([]).describe('Volumes that survive versions.'),
    health_url: z
      .string()
      .regex(/^\/[^\s#]{0,1023}$/, 'must be a path such as /healthz')
      .optional()
      .describe('Path that answers 2xx or 3xx when the app is ready; without it an open port is enough.'),
    config: appConfigOverrides.default({}).describe('Overrides of [app_config].'),
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
export type AppSpec = z.output<typeof appSpec>;

function isGit(spec: { readonly source?: string | undefined }): boolean {
  return spec.source !== undefined && sourceKind(spec.source) === 'git';
}
export type AppSpecInput = z.input<typeof appSpec>;
