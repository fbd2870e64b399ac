/**
 * What an app declares: the keys of `[[app]]` in the app file and of `apps.apply`, and the `[app_config]` defaults they
 * may override. Keys are snake_case in both, so a TOML app file and its JSON are the same thing.
 */
import { z } from 'zod';
import { parseRunningSpan } from './running-hours.ts';

/** Kubernetes resource quantity, as in `500m`, `1.5`, `256Mi`. */
const quantity = z
  .union([z.string(), z.number().positive()])
  .transform(String)
  .pipe(
    z.string().regex(/^\d{1,12}(\.\d{1,6})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/, 'must be a quantity such as 500m, 1.5 or 256Mi'),
  );

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

const secs = (min: number, max: number): z.ZodNumber => z.number().min(min).max(max);

/** `*` for any text, everything else as it is. */
const wakePattern = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[\x21-\x7e ]+$/, 'must be one line of ASCII, * for any text');

/** What a call gets that may not wake its app. */
const wakeAnswer = z.strictObject({
  status: z.int().min(200).max(599).default(200).describe('Status.'),
  content_type: z
    .string()
    .regex(
      /^[A-Za-z0-9!#$&^_.+-]{1,64}\/[A-Za-z0-9!#$&^_.+-]{1,64}(; ?[A-Za-z0-9-]{1,32}=[A-Za-z0-9_.-]{1,64}){0,4}$/,
      'must be a media type',
    )
    .default('text/plain')
    .describe('Its Content-Type.'),
  body: z.string().max(4_096).default('').describe('Its body.'),
});

/** Of calls that find their app asleep: the first rule that fits counts; a call that none fits may wake it. */
export const wakeRule = z.strictObject({
  methods: z
    .array(z.string().regex(/^[A-Z-]{1,32}$/, 'must be a method in capitals'))
    .min(1)
    .max(16)
    .optional()
    .describe('Methods that it fits, by default all.'),
  path: wakePattern.optional().describe('Path as the router gets it, without query; `*` for any text.'),
  user_agent: wakePattern.optional().describe('User-Agent, in any case; `*` for any text.'),
  answer: wakeAnswer.optional().describe('Static answer instead of waking the app; without it the call may wake it.'),
});
export type WakeRule = z.output<typeof wakeRule>;
const wakeRules = z.array(wakeRule).max(64);
/** Probes of the kubelet, as of a Service of the app, are no callers. */
export const defaultWakeRules: readonly WakeRule[] = [
  { user_agent: 'kube-probe/*', answer: { status: 200, content_type: 'text/plain', body: '' } },
];

/** `Mon-Fri 08:00-18:00 Europe/Berlin`; the zone may be left out (UTC), and an end before the beginning is on the day after. */
const runningHours = z
  .array(
    z
      .string()
      .max(128)
      .superRefine((value, context) => {
        const span = parseRunningSpan(value);
        if (typeof span === 'string') context.addIssue({ code: 'custom', message: span });
      }),
  )
  .max(32);

/** Defaults of every app: `[app_config]` of the agent; an app overrides single keys in `[app.config]`. */
export const appConfig = z.strictObject({
  on_failed_update: z
    .enum(['previous', 'fail'])
    .default('previous')
    .describe('What calls get when a new version fails: the previous version, or 502 until someone acts.'),
  strip_path: z
    .boolean()
    .default(true)
    .describe('Take the route path off before the call reaches the app; it is told in X-Forwarded-Prefix.'),
  max_concurrency: z
    .int()
    .min(0)
    .max(100_000)
    .default(0)
    .describe('Calls in flight per target (pod) and router at most; 0 is no limit.'),
  max_concurrency_total: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(0)
    .describe('Calls in flight of the app in one router at most; further ones wait. 0 is no limit.'),
  upgrade_max_age_secs: secs(0, 2_592_000)
    .default(0)
    .describe('Age at which upgraded connections (WebSocket) are closed, seconds; 0 is never.'),
  waiting_page: z
    .boolean()
    .default(false)
    .describe('Show a page with live progress to browsers that open the app while it is not running.'),
  wake: z
    .strictObject({
      rules: wakeRules
        .default([...defaultWakeRules])
        .describe(
          'Calls that may not wake the app, and what they get while it is not ready; the first that fits counts.',
        ),
      max_per_hour: z
        .int()
        .min(0)
        .max(3_600)
        .default(0)
        .describe('Wakes within an hour at most; further calls get 503 with Retry-After. 0 is no limit.'),
    })
    .prefault({}),
  hold: z
    .strictObject({
      max_calls: z.int().min(1).max(100_000).default(5_000).describe('Calls of this app that may wait in one router.'),
      timeout_secs: secs(1, 3_600).default(300).describe('How long a call may wait, seconds.'),
      queue_timeout_secs: secs(0, 3_600)
        .default(0)
        .describe(
          'How long a call may wait for room where targets run and all are at max_concurrency, seconds; then 503. 0 is hold.timeout_secs.',
        ),
    })
    .prefault({}),
  update: z
    .strictObject({
      hold: z
        .boolean()
        .default(true)
        .describe(
          'Hold calls while a new version starts; false lets the old version answer until the new one has started.',
        ),
      drain_secs: secs(0, 3_600)
        .default(30)
        .describe('Time that calls in flight on the old version have to end, seconds.'),
    })
    .prefault({}),
  container: z
    .strictObject({
      idle_shutdown_secs: secs(0, 604_800)
        .default(180)
        .describe('Idle time after which the app goes to zero, seconds; 0 is never.'),
      idle_bytes_high_watermark: z
        .int()
        .min(0)
        .max(1_073_741_824)
        .default(1_500)
        .describe(
          'Bytes, heads among them, within idle_shutdown_secs below which calls do not keep the app awake, as those of an uptime monitor; 0: every call does. A call in flight and an open WebSocket always do.',
        ),
      running_hours: runningHours
        .default([])
        .describe(
          'Hours in which the app, once it has answered, is kept running whether it is called or not, each as `Mon-Fri 08:00-18:00 Europe/Berlin`: days, hours, time zone (by default UTC).',
        ),
      start_deadline_secs: secs(1, 3_600)
        .default(120)
        .describe('Time from start to the first answer after which a version has failed, seconds.'),
    })
    .prefault({}),
  kubernetes: z
    .strictObject({
      strict_version_check: z
        .boolean()
        .default(true)
        .describe(
          'Once apply has returned no call is answered by an older version; false lets calls go on as soon as one pod of the new version is Ready.',
        ),
      default_volume_size: quantity.default('10Gi').describe('Size of a volume that names none.'),
      scaling_threshold_cpu: z
        .int()
        .min(1)
        .max(100)
        .default(80)
        .describe('CPU utilisation, percent, above which an app with max_replicas > 1 grows.'),
      run_as_non_root: z.boolean().default(false).describe('Refuse to start an image that runs as root.'),
      unschedulable_grace_secs: secs(0, 3_600)
        .default(60)
        .describe('How long a pod may be unschedulable before the version has failed, seconds.'),
    })
    .prefault({}),
});
export type AppConfig = z.output<typeof appConfig>;

/** The same keys, all optional and without defaults: what an app overrides. */
export const appConfigOverrides = z.strictObject({
  on_failed_update: z.enum(['previous', 'fail']).optional(),
  strip_path: z.boolean().optional(),
  max_concurrency: z.int().min(0).max(100_000).optional(),
  max_concurrency_total: z.int().min(0).max(1_000_000).optional(),
  upgrade_max_age_secs: secs(0, 2_592_000).optional(),
  waiting_page: z.boolean().optional(),
  wake: z.strictObject({ rules: wakeRules.optional(), max_per_hour: z.int().min(0).max(3_600).optional() }).optional(),
  hold: z
    .strictObject({
      max_calls: z.int().min(1).max(100_000).optional(),
      timeout_secs: secs(1, 3_600).optional(),
      queue_timeout_secs: secs(0, 3_600).optional(),
    })
    .optional(),
  update: z.strictObject({ hold: z.boolean().optional(), drain_secs: secs(0, 3_600).optional() }).optional(),
  container: z
    .strictObject({
      idle_shutdown_secs: secs(0, 604_800).optional(),
      idle_bytes_high_watermark: z.int().min(0).max(1_073_741_824).optional(),
      running_hours: runningHours.optional(),
      start_deadline_secs: secs(1, 3_600).optional(),
    })
    .optional(),
  kubernetes: z
    .strictObject({
      strict_version_check: z.boolean().optional(),
      default_volume_size: quantity.optional(),
      scaling_threshold_cpu: z.int().min(1).max(100).optional(),
      run_as_non_root: z.boolean().optional(),
      unschedulable_grace_secs: secs(0, 3_600).optional(),
    })
    .optional(),
});

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

/** `[app_config]` with the app's own overrides laid over it, two levels deep. */
export function resolveAppConfig(defaults: AppConfig, overrides: AppSpec['config']): AppConfig {
  const merged: Record<string, unknown> = { ...defaults };
  for (const [key, value] of Object.entries(overrides)) {
    if (value === undefined) continue;
    const base = merged[key];
    merged[key] = typeof value === 'object' && typeof base === 'object' ? { ...base, ...value } : value;
  }
  return appConfig.parse(merged);
}
