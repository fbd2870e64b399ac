/**
 * The protocol between an agent and a builder (`holdfast builder serve`). A request is POST /builds with a bearer token and
 * multipart/form-data: `meta` (JSON), then `file` (the context as tar.gz). The answer has one JSON value per line, the last of which
 * is a digest or an error.
 */
import { z } from 'zod';
import type { ErrorCode } from '../error-codes.ts';

export const buildsPath = '/builds';
export const metaPart = 'meta';
export const filePart = 'file';

export const maxMetaBytes = 1_048_576;
/** Bound of one line of the answer. The longest is an error with its log lines. */
export const maxEventBytes = 1_048_576;
/** Bound of one line of a build's output, in bytes of UTF-8. */
export const maxLineBytes = 4_096;
/** A builder that has had nothing to send for this long sends `alive`. */
export const heartbeatMs = 10_000;
/** After this long without a byte the other side is considered dead. */
export const silenceMs = 45_000;

const argument = z.record(
  z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,252}$/, 'must be a name of A-Z, a-z, 0-9 and _'),
  z
    .string()
    .max(65_536)
    .refine((value) => !value.includes('\0'), 'must not hold NUL'),
);

export const buildMeta = z.strictObject({
  /** The identity of the image, for logs. */
  tag: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/),
  /** Where to push: `host[:port]/path:tag`. It must not begin with a hyphen, so that no program takes it for an option. */
  image: z
    .string()
    .max(512)
    .regex(/^[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?(\/[a-z0-9]+([._-]+[a-z0-9]+)*)+:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/),
  /** Path of the Dockerfile in the context. */
  dockerfile: z
    .string()
    .min(1)
    .max(1_024)
    .refine((path) => !path.includes('\0') && !/^\/|(^|\/)\.\.(\/|$)/.test(path), 'must be a path inside the context'),
  args: argument.default({}),
  secretArgs: argument.default({}),
  target: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/)
    .optional(),
  labels: z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,252}$/), z.string().max(1_024)).default({}),
});

export type BuildMeta = z.output<typeof buildMeta>;

export const buildErrorCodes = [
  'dockerfile_invalid',
  'base_image_not_found',
  'build_failed',
  'push_denied',
  'registry_unavailable',
  'build_out_of_memory',
  'build_timeout',
  'builder_unavailable',
  'source_invalid',
] as const satisfies readonly ErrorCode[];

const buildFailure = z.object({
  code: z.enum(buildErrorCodes),
  message: z.string(),
  /** The instruction of the Dockerfile that failed. */
  step: z.string().optional(),
  exitCode: z.int().optional(),
  /** The last lines of the output. */
  logs: z.array(z.string()).optional(),
});

export type BuildFailure = z.output<typeof buildFailure>;

export const buildEvent = z.union([
  /** The place of the build in the queue: 1 is next. */
  z.object({ queued: z.int().min(1) }),
  z.object({ phase: z.enum(['building', 'pushing']) }),
  z.object({ line: z.string() }),
  z.object({ alive: z.literal(true) }),
  z.object({ digest: z.string().regex(/^sha256:[0-9a-f]{64}$/) }),
  z.object({ error: buildFailure }),
]);

export type BuildEvent = z.output<typeof buildEvent>;
