/** `holdfast apply -f FILE`: declares the apps of a file. */
import { resolve } from 'node:path';
import { Command } from 'commander';
import { AppError } from '../../shared/errors.ts';
import type { DeclaredApp } from '../../shared/protocol/app-spec.ts';
import type { Change } from '../../shared/protocol/views.ts';
import { type AllowedSecrets, placeInAppFile, readAppFile } from '../app-file.ts';
import type { CliContext } from '../context.ts';
import { type Session, openSession } from '../session.ts';
import { plain } from '../text.ts';

/** The agent asks the registry or reads the folder of each app, and waits for its routers. */
const deadlineMs = 120_000;

interface ApplyOptions {
  readonly file: string;
  readonly dryRun: boolean;
  readonly allowEnv: readonly string[];
  readonly allowFile: readonly string[];
}

export function applyCommand(context: CliContext): Command {
  return new Command('apply')
    .description('create or update the apps declared in a file')
    .requiredOption('-f, --file <file>', 'app file (TOML with [[app]]; see docs/app-file.md)')
    .option('--allow-env <name>', 'let the file send this environment variable (repeatable, `*`: all)', collect, [])
    .option('--allow-file <path>', 'let the file send this file, or those of this folder (repeatable)', collect, [])
    .option('--dry-run', 'show what would change without changing anything', false)
    .action(async (options: ApplyOptions, command: Command) => {
      // Read the file first, so that its errors are reported even if no agent can be reached.
      const source = { file: options.file, env: context.env };
      const apps = readAppFile(source, allowedSecrets(options, context));
      const session = openSession(context, command);
      if (context.stderr.isTTY === true)
        session.progress(`Applying ${apps.length === 1 ? 'one app' : `${apps.length} apps`} …`);
      const params = { apps, dryRun: options.dryRun };
      const result = await session.call('apps.apply', params, { deadlineMs }).catch((error: unknown) => {
        throw placed(error, (data) => placeInAppFile(source, apps, data));
      });
      session.show(result, ({ changes, dryRun, routers }) => {
        const lines = changes.map((change) => [changeText(change, dryRun), ...urlLine(change)].join('\n'));
        if (routers.expired > 0) {
          lines.push(
            `${routers.expired} router(s) did not acknowledge before their lease expired and are considered gone.`,
          );
        }
        return lines.join('\n');
      });
      if (!options.dryRun) await tellUnpinned(session, apps, result.changes);
    });
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

/** HOLDFAST_ALLOW_ENV and HOLDFAST_ALLOW_FILES, separated by commas, allow the same where options are no place for it, as in CI. */
function allowedSecrets({ allowEnv, allowFile }: ApplyOptions, { env, cwd }: CliContext): AllowedSecrets {
  const listed = (name: string): string[] => (env[name] ?? '').split(',').flatMap((one) => one.trim() || []);
  return {
    env: [...allowEnv, ...listed('HOLDFAST_ALLOW_ENV')],
    files: [...allowFile, ...listed('HOLDFAST_ALLOW_FILES')].map((path) => resolve(cwd, path)),
  };
}

/** The error of the agent with the place in the file that it is about, if it names one. */
function placed(
  error: unknown,
  placeOf: (data: { readonly app: unknown; readonly key: unknown }) => string | undefined,
): unknown {
  if (!(error instanceof AppError) || error.data === undefined) return error;
  const { app, key } = error.data;
  const place = placeOf({ app, key });
  if (place === undefined) return error;
  return error.with({ message: `${place}: ${error.message}`, data: { ...error.data, place } });
}

/** An image that its registry does not have yet is no mistake (it may be pushed next), and else shows at the first call only. */
async function tellUnpinned(session: Session, apps: readonly DeclaredApp[], changes: readonly Change[]): Promise<void> {
  for (const { app, action, version } of changes) {
    const image = apps.find(({ name }) => name === app)?.image;
    if (action === 'unchanged' || image === undefined) continue;
    // The change is applied already, so a failure to look this up is ignored.
    const listed = await session.call('versions.list', { app, limit: 10 }).catch(() => undefined);
    if (listed?.versions.find((one) => one.version === version)?.imageDigest !== null) continue;
    session.progress(
      `${app}: the image ${image} was not found in its registry, or the registry could not be reached. Calls fail until the image is there.`,
    );
  }
}

/** Where the app is called from now on, if the agent knows. */
function urlLine({ url }: Change): string[] {
  return typeof url === 'string' ? [`  ${plain(url)}`] : [];
}

export function changeText({ app, action, version, fields }: Change, dryRun: boolean): string {
  if (action === 'unchanged') return `${app}: unchanged, version ${version}`;
  const verb = action === 'create' ? 'created' : 'updated';
  const head = `${app}: ${dryRun ? `would be ${verb}` : verb}, version ${version}`;
  if (action === 'create') return head;
  const shown = fields.map(({ key, from, to }) => `  ${key}: ${valueText(from)} → ${valueText(to)}`);
  return [head, ...shown].join('\n');
}

/** Formats a value, with digests shortened as git does. */
function valueText(value: unknown): string {
  const digest = typeof value === 'string' ? /^sha256:([0-9a-f]{12})[0-9a-f]{52}$/.exec(value)?.[1] : undefined;
  if (digest !== undefined) return digest;
  return value === undefined || value === null ? '(none)' : plain(JSON.stringify(value));
}
