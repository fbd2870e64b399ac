/**
 * `[app_config]`: how apps are run, held, updated and woken. The agent's configuration has the defaults of every app, and an app overrides
 * single keys in `[app.config]`.
 */
import { z } from 'zod';
import { decimal, integer } from '../number-keys.ts';
import { parseRunningSpan } from './running-hours.ts';

/** A Kubernetes resource quantity, such as `500m`, `1.5` or `256Mi`. */
export const quantity = z
  .union([z.string(), z.number().positive()])
  .transform(String)
  .pipe(
    z.string().regex(/^\d{1,12}(\.\d{1,6})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/, 'must be a quantity such as 500m, 1.5 or 256Mi'),
  );

/** A pattern in which `*` matches any text, and everything else matches itself. */
const wakePattern = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[\x21-\x7e ]+$/, 'must be one line of ASCII, in which * matches any text');

const wakeAnswer = z.strictObject({
  status: integer([200, 599], 200).describe('Status of the answer.'),
  content_type: z
    .string()
    .regex(
      /^[A-Za-z0-9!#$&^_.+-]{1,64}\/[A-Za-z0-9!#$&^_.+-]{1,64}(; ?[A-Za-z0-9-]{1,32}=[A-Za-z0-9_.-]{1,64}){0,4}$/,
      'must be a media type',
    )
    .default('text/plain')
    .describe('Content-Type of the answer.'),
  body: z.string().max(4_096).default('').describe('Body of the answer.'),
});

/** A rule for calls whose app is asleep. The first rule that matches applies; a call that matches none may wake the app. */
export const wakeRule = z.strictObject({
  methods: z
    .array(z.string().regex(/^[A-Z-]{1,32}$/, 'must be a method in capitals'))
    .min(1)
    .max(16)
    .optional()
    .describe('Methods that match; by default all.'),
  path: wakePattern.optional().describe('Path as the router receives it, without the query; `*` matches any text.'),
  user_agent: wakePattern.optional().describe('User-Agent, compared without regard to case; `*` matches any text.'),
  answer: wakeAnswer
    .optional()
    .describe('Static answer that is sent instead of waking the app. Without it, the call may wake the app.'),
});
export type WakeRule = z.output<typeof wakeRule>;
const wakeRules = z.array(wakeRule).max(64);
/** Probes of the kubelet must not wake an app. */
export const defaultWakeRules: readonly WakeRule[] = [
  { user_agent: 'kube-probe/*', answer: { status: 200, content_type: 'text/plain', body: '' } },
];

/** `Mon-Fri 08:00-18:00 Europe/Berlin`. The zone is UTC if left out, and an end before the beginning is on the next day. */
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

/** `[app_config]` of the agent: the defaults of every app. */
export const appConfig = z.strictObject({
  on_failed_update: z
    .enum(['previous', 'fail'])
    .default('previous')
    .describe(
      'What calls get when a new version fails: `previous`: the previous version; `fail`: 502 until someone acts.',
    ),
  strip_path: z
    .boolean()
    .default(true)
    .describe(
      'Strip the path of the route before a call is forwarded to the app. X-Forwarded-Prefix contains the path.',
    ),
  add_slash: z
    .boolean()
    .default(true)
    .describe(
      'With `strip_path`: redirect GET and HEAD of the path itself to the path with a slash (308), so that relative links of the page lead to the app.',
    ),
  prefix_locations: z
    .boolean()
    .default(true)
    .describe(
      'With `strip_path`: put the path of the route before paths and URLs of the same host in Location, Content-Location and Refresh, unless they begin with it.',
    ),
  prefix_cookies: z
    .boolean()
    .default(true)
    .describe(
      'With `strip_path`: put the path of the route before the Path of cookies, unless it begins with it. Cookies whose names begin with `__Host-` stay.',
    ),
  max_concurrency: integer([0, 100_000], 0).describe(
    'Maximum number of calls in flight per target (pod) and router. 0: no limit.',
  ),
  max_concurrency_total: integer([0, 1_000_000], 0).describe(
    'Maximum number of calls of the app in flight per router; further calls wait. 0: no limit.',
  ),
  upgrade_max_age_secs: decimal([0, 2_592_000], 0).describe(
    'Age at which upgraded connections (WebSocket) are closed, seconds. 0: never.',
  ),
  waiting_page: z
    .boolean()
    .default(false)
    .describe('Show browsers a page with live progress when they open the app while it is not running.'),
  wake: z
    .strictObject({
      rules: wakeRules
        .default([...defaultWakeRules])
        .describe(
          'Calls that may not wake the app, and the answer that they get while it is not ready. The first matching rule applies.',
        ),
      max_per_hour: integer([0, 3_600], 0).describe(
        'Maximum number of wakes per hour; further calls get 503 with Retry-After. 0: no limit.',
      ),
    })
    .prefault({}),
  hold: z
    .strictObject({
      max_calls: integer([0, 100_000], 0).describe(
        'Maximum number of held calls of the app per router. 0: half of the hold_max_calls of the router.',
      ),
      timeout_secs: decimal([1, 3_600], 300).describe('Maximum time that a call is held, seconds.'),
      queue_timeout_secs: decimal([0, 3_600], 0).describe(
        'Maximum time that a call waits when all targets are at max_concurrency, seconds; then it gets 503. 0: the same as hold.timeout_secs.',
      ),
    })
    .prefault({}),
  update: z
    .strictObject({
      hold: z
        .boolean()
        .default(true)
        .describe('Hold calls while a new version starts. false: the old version answers until the new one does.'),
      drain_secs: decimal([0, 3_600], 30).describe(
        'Time that calls in flight on the old version get to finish, seconds.',
      ),
    })
    .prefault({}),
  container: z
    .strictObject({
      idle_shutdown_secs: decimal([0, 604_800], 180).describe(
        'Idle time after which the app is scaled to zero, seconds. 0: never.',
      ),
      idle_bytes_high_watermark: integer([0, 1_073_741_824], 1_500).describe(
        'Calls that transfer fewer bytes than this (heads included) within idle_shutdown_secs do not keep the app awake, such as those of an uptime monitor. 0: every call keeps it awake. A call in flight and an open WebSocket always do.',
      ),
      running_hours: runningHours
        .default([])
        .describe(
          'Hours during which the app is kept running without calls, once it has answered a first call. Each entry has days, hours and a time zone (default UTC): `Mon-Fri 08:00-18:00 Europe/Berlin`.',
        ),
      start_deadline_secs: decimal([1, 3_600], 120).describe(
        'A version that has not answered this long after its start has failed, seconds.',
      ),
    })
    .prefault({}),
  kubernetes: z
    .strictObject({
      strict_version_check: z
        .boolean()
        .default(true)
        .describe(
          'Guarantee that once `apply` has returned, no call is answered by an older version. false: calls are forwarded as soon as one pod of the new version is Ready.',
        ),
      default_volume_size: quantity.default('10Gi').describe('Size of a volume without a size of its own.'),
      scaling_threshold_cpu: integer([1, 100], 80).describe(
        'CPU utilisation above which an app with max_replicas > 1 gets more replicas, percent.',
      ),
      run_as_non_root: z.boolean().default(false).describe('Refuse to start images that run as root.'),
      fs_group: z
        .int()
        .min(0)
        .max(2_147_483_647)
        .optional()
        .describe(
          'Group that owns the volumes of an app and that its processes join (fsGroup of its pods), so that an image that does not run as root can write to them. 0: none. Default: 1000 for apps that are built from a source, none for images.',
        ),
      unschedulable_grace_secs: decimal([0, 3_600], 60).describe(
        'How long a pod may be unschedulable before its version fails, seconds.',
      ),
      scale_up_timeout_secs: decimal([0, 7_200], 900).describe(
        'How long a pod may be unschedulable while a cluster autoscaler has announced a node for it, seconds. Without an announcement, unschedulable_grace_secs applies.',
      ),
    })
    .prefault({}),
});
export type AppConfig = z.output<typeof appConfig>;

type OverridesOf<S> = {
  [K in keyof S]: S[K] extends z.ZodDefault<infer T>
    ? z.ZodOptional<T>
    : S[K] extends z.ZodOptional
      ? S[K]
      : S[K] extends z.ZodPrefault<z.ZodObject<infer T>>
        ? z.ZodOptional<z.ZodObject<OverridesOf<T>, z.core.$strict>>
        : never;
};

/** Makes all keys optional, those of nested tables too, and removes their defaults. */
function overridesOf<S extends z.ZodRawShape>(shape: S): z.ZodObject<OverridesOf<S>, z.core.$strict> {
  const keys = Object.entries(shape).map(([key, schema]) => {
    const inner = schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault ? schema.unwrap() : schema;
    return [key, z.optional(inner instanceof z.ZodObject ? overridesOf(inner.shape) : inner)];
  });
  return z.strictObject(Object.fromEntries(keys) as OverridesOf<S>);
}

/** The same keys, all optional and without defaults, for the overrides of an app. */
export const appConfigOverrides = overridesOf(appConfig.shape);

/** Merges the app's overrides into `[app_config]`, two levels deep. */
export function resolveAppConfig(defaults: AppConfig, overrides: z.output<typeof appConfigOverrides>): AppConfig {
  const merged: Record<string, unknown> = { ...defaults };
  for (const [key, value] of Object.entries(overrides)) {
    if (value === undefined) continue;
    const base = merged[key];
    merged[key] = typeof value === 'object' && typeof base === 'object' ? { ...base, ...value } : value;
  }
  return appConfig.parse(merged);
}
