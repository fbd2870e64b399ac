/**
 * `[app_config]`: how an app is run, held, updated and woken. Defaults of every app in the agent's configuration, of which an app
 * overrides single keys in `[app.config]`.
 */
import { z } from 'zod';
import { parseRunningSpan } from './running-hours.ts';

/** Kubernetes resource quantity, as in `500m`, `1.5`, `256Mi`. */
export const quantity = z
  .union([z.string(), z.number().positive()])
  .transform(String)
  .pipe(
    z.string().regex(/^\d{1,12}(\.\d{1,6})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/, 'must be a quantity such as 500m, 1.5 or 256Mi'),
  );

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

/** `[app_config]` with the app's own overrides laid over it, two levels deep. */
export function resolveAppConfig(defaults: AppConfig, overrides: z.output<typeof appConfigOverrides>): AppConfig {
  const merged: Record<string, unknown> = { ...defaults };
  for (const [key, value] of Object.entries(overrides)) {
    if (value === undefined) continue;
    const base = merged[key];
    merged[key] = typeof value === 'object' && typeof base === 'object' ? { ...base, ...value } : value;
  }
  return appConfig.parse(merged);
}
