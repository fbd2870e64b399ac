/**
 * Reads an app file: TOML with one `[[app]]` per app, with the keys of `apps.apply`. Resolves what only the caller's
 * machine knows: makes folders absolute, and reads secrets from the environment and from files.
 */
import { realpathSync } from 'node:fs';
import { sep } from 'node:path';
import { z } from 'zod';
import { refuseRepeatedApps, withAbsoluteSource } from '../shared/config/app-list.ts';
import { type Report, loadConfig } from '../shared/config/load.ts';
import { type ConfigSource, type OpenSource, openSource, readSecret } from '../shared/config/sections.ts';
import { tomlPositions } from '../shared/config/toml-positions.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import { type DeclaredApp, declaredApp } from '../shared/protocol/app-spec.ts';

/** `"value"`, `{ env = "NAME" }` or `{ file = "path" }`. */
const secret = z.union([
  z.string().max(65_536),
  z.strictObject({
    env: z.string().min(1).describe('Environment variable that holds the value, read by the command.'),
  }),
  z.strictObject({ file: z.string().min(1).describe('File that holds the value, relative to the app file.') }),
]);

/** One `[[app]]` as written. Rules across several keys are checked by `declaredApp` once the secrets are known. */
const writtenApp = z.strictObject({
  ...declaredApp.shape,
  secrets: z
    .record(declaredApp.shape.secrets.unwrap().keyType, secret)
    .default({})
    .describe('Secret environment variables: `"value"`, `{ env = "NAME" }` or `{ file = "path" }`.'),
  build_secrets: z
    .record(declaredApp.shape.build_secrets.unwrap().keyType, secret)
    .default({})
    .describe('Secret build arguments: `"value"`, `{ env = "NAME" }` or `{ file = "path" }`.'),
});
type WrittenApp = z.output<typeof writtenApp>;

/** The app file as written. `readAppFile` gives what is sent. */
export const appFile = z
  .strictObject({
    app: z.array(writtenApp).min(1, 'the file has no [[app]]').max(256).describe('The apps of the file.'),
  })
  .superRefine((file, context) => {
    refuseRepeatedApps(file.app, (path, message) => {
      context.addIssue({ code: 'custom', path, message });
    });
  });

/**
 * What an app file may read beside the files of its own folder. Whoever wrote the file chooses what the app is sent, so reading a stranger's
 * must not hand over the keys of the person who applies it.
 */
export interface AllowedSecrets {
  /** Names of environment variables; `*` is all. */
  readonly env: readonly string[];
  /** Absolute paths of files, or of folders with all that is in them. */
  readonly files: readonly string[];
}

const allowedByDefault: AllowedSecrets = { env: [], files: [] };

/** @throws AppError app_invalid, naming for each problem the key, its line and what to do. */
export function readAppFile(
  source: ConfigSource & { readonly file: string },
  allowed: AllowedSecrets = allowedByDefault,
): DeclaredApp[] {
  const open = openAppFile(source);
  const folder = open.resolvePath('.');
  const may: MaySend = {
    env: (name) => allowed.env.some((one) => one === '*' || one === name),
    file: (path) => [folder, ...allowed.files].some((place) => isWithin(realPath(path), realPath(place))),
  };
  // No environment here: HOLDFAST_… variables set keys of programs, not of apps.
  return loadConfig({ ...open, env: {}, schema: appFile, code: 'app_invalid' }, (file, report) =>
    file.app.map((written, index) => {
      const read = (key: SecretKey) => readSecrets(written, key, index, { source: open, report, may });
      const secrets = { secrets: read('secrets'), build_secrets: read('build_secrets') };
      const app = { ...withAbsoluteSource(written, open.resolvePath), ...secrets };
      for (const issue of declaredApp.safeParse(app).error?.issues ?? [])
        report(['app', index, ...issue.path], issue.message);
      return app;
    }),
  );
}

/** @returns `file:line:column` of a key of an app as the file has it; undefined where it has no such app or key. */
export function placeInAppFile(
  source: ConfigSource & { readonly file: string },
  apps: readonly Pick<DeclaredApp, 'name'>[],
  { app, key }: { readonly app: unknown; readonly key: unknown },
): string | undefined {
  const index = apps.findIndex(({ name }) => name === app);
  if (index < 0 || typeof key !== 'string') return undefined;
  const { text, file } = openAppFile(source);
  const position = tomlPositions(text).find(['app', index, key]);
  return position === undefined ? undefined : `${file}:${position.line}:${position.column}`;
}

function openAppFile(source: ConfigSource): OpenSource {
  try {
    return openSource(source);
  } catch (error) {
    throw new AppError('app_invalid', toAppError(error).message, { cause: error });
  }
}

interface MaySend {
  readonly env: (name: string) => boolean;
  readonly file: (path: string) => boolean;
}

/** Follows links, because a repository can hold a link that leads anywhere. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function isWithin(path: string, place: string): boolean {
  return path === place || path.startsWith(place.endsWith(sep) ? place : place + sep);
}

type SecretKey = 'secrets' | 'build_secrets';

function readSecrets(
  app: WrittenApp,
  key: SecretKey,
  index: number,
  { source, report, may }: { readonly source: OpenSource; readonly report: Report; readonly may: MaySend },
): Record<string, string> {
  const values = Object.entries(app[key]).map(([name, value]): [string, string] => {
    const fail = (message: string): void => {
      report(['app', index, key, name], message);
    };
    if (typeof value === 'string') return [name, value];
    if ('file' in value) {
      if (may.file(source.resolvePath(value.file))) return [name, readSecret(source, value.file, fail) ?? ''];
      fail(`the file is outside the folder of the app file; to send it to the app, add --allow-file ${value.file}`);
      return [name, ''];
    }
    if (!may.env(value.env)) {
      fail(`the app would get your environment variable ${value.env}; to send it, add --allow-env ${value.env}`);
      return [name, ''];
    }
    const text = source.env[value.env];
    if (text === undefined) fail(`the environment variable ${value.env} is not set; set it and run the command again`);
    return [name, text ?? ''];
  });
  return Object.fromEntries(values);
}
