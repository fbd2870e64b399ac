/** `holdfast deploy DIR --app NAME`: sends a folder and declares it as the source of the app. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { systemClock } from '../../shared/wait/clock.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import { findPlan, recipeFor } from '../../shared/presets/folder-plan.ts';
import { folderTree } from '../../shared/presets/folder-tree.ts';
import { ignoredBy } from '../../shared/presets/render/dockerfile.ts';
import { explained } from '../../shared/presets/render/summary.ts';
import { planRequest } from '../../shared/presets/settings.ts';
import type { DeclaredAppInput } from '../../shared/protocol/app-spec.ts';
import { type PresetName, presets } from '../../shared/protocol/build-settings.ts';
import type { ResultOf, AgentMethods } from '../../shared/protocol/methods.ts';
import type { AppView, Change } from '../../shared/protocol/views.ts';
import { type Excludes, parseDockerignore, readDockerignore } from '../../shared/source/dockerignore.ts';
import { defaultSourceLimits } from '../../shared/source/limits.ts';
import { type PackedFolder, packFolder } from '../../shared/source/pack.ts';
import type { CliContext } from '../context.ts';
import { findEndpoint } from '../endpoint.ts';
import { UsageError } from '../../shared/command/exit-code.ts';
import { type Session, openSession } from '../session.ts';
import { mebibytes, plain, seconds } from '../text.ts';
import { transferProgress } from '../transfer-progress.ts';
import { uploadArchive } from '../upload.ts';
import { changeText } from './apply.ts';
import { existingFolder } from './init.ts';

interface DeployOptions {
  readonly app: string;
  readonly path?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly preset?: PresetName;
  readonly dockerfile?: string;
  readonly wait: boolean;
}

/** The deadline of the whole command, unless --timeout sets another. */
const totalDeadlineMs = 60 * 60_000;
const applyDeadlineMs = 120_000;
const ensureDeadlineMs = 30 * 60_000;

export function deployCommand(context: CliContext): Command {
  return new Command('deploy')
    .description('upload a folder and make it the source of an app')
    .argument('<dir>', 'the folder; files listed in its .dockerignore are left out')
    .requiredOption('--app <name>', 'the app; what it declares besides stays')
    .option('--path <route>', 'route of the app, such as /shop (default for a new app: a host of its own)')
    .option('--env <key=value>', 'environment variable to add to the app; may be repeated', variable)
    .addOption(new Option('--preset <preset>', 'build with this preset instead of a Dockerfile').choices(presets))
    .addOption(new Option('--dockerfile <file>', 'Dockerfile, relative to the folder').conflicts('preset'))
    .option('--wait', 'start the app as a call would, and follow the build and the start', false)
    .action(async (dir: string, options: DeployOptions, command: Command) => {
      const { timeout } = command.optsWithGlobals<{ timeout?: number }>();
      const deadline = AbortSignal.timeout(timeout === undefined ? totalDeadlineMs : timeout * 1_000);
      const folder = await existingFolder(resolve(context.cwd, dir), dir);
      const session = openSession(context, command);
      const existing = await findApp(session, options);
      const excludes = await checkFolder(folder, options, { existing, session });
      const signal = AbortSignal.any([context.interrupted, deadline]);
      const endpoint = findEndpoint(context, command.optsWithGlobals());
      try {
        const sent = await send({ folder, excludes, session, endpoint, signal });
        const spec = specOf(options, existing, sent.source);
        tellWhatIsReplaced(session, existing);
        const { changes, routers } = await session.call(
          'apps.apply',
          { apps: [spec] },
          { deadlineMs: applyDeadlineMs },
        );
        const ensured = options.wait ? await ensure(session, options.app) : undefined;
        session.show({ ...sent, changes, routers, ...(ensured === undefined ? {} : { ensured }) }, () =>
          resultText({ ...sent, changes, ensured, path: spec.path, app: options.app }),
        );
      } catch (error) {
        if (deadline.aborted && !context.interrupted.aborted && !(error instanceof AppError)) {
          throw new AppError('deadline_exceeded', 'the command did not finish within --timeout', { cause: error });
        }
        throw error;
      }
    });
}

async function findApp(session: Session, { app, path }: DeployOptions): Promise<AppView | undefined> {
  try {
    return await session.call('apps.get', { app });
  } catch (error) {
    if (toAppError(error).code !== 'app_not_found') throw error;
    // Told before the upload, which the agent would take in vain. An agent with a default domain names it in the error.
    if (path === undefined && typeof toAppError(error).data?.['defaultDomain'] !== 'string') {
      throw new UsageError(
        `there is no app ${app} yet: pass --path /${app} to create it with that route (without --path, the agent needs a default_domain)`,
      );
    }
    return undefined;
  }
}

/**
 * Checks before the upload that the folder can be built, and tells how.
 * @throws UsageError, AppError dockerfile_invalid, source_invalid
 */
async function checkFolder(
  folder: string,
  options: DeployOptions,
  { existing, session }: { readonly existing: AppView | undefined; readonly session: Session },
): Promise<Excludes> {
  const tree = folderTree(folder);
  const { dockerfile, preset } = buildOf(options, existing);
  const { command, build_secrets = {}, build = { args: {} } } = existing?.spec ?? {};
  const request = planRequest({ command, build_secrets, build: { ...build, dockerfile, preset } });
  if (dockerfile !== 'Dockerfile' && request.settings.preset === undefined && !(await tree.has(dockerfile)))
    throw new UsageError(`the folder has no ${dockerfile}`);
  if (request.hasCommand && !(await tree.has(dockerfile)) && (await findPlan(tree, request)) === undefined)
    return readDockerignore(folder);
  const recipe = await recipeFor(tree, dockerfile, request);
  if (recipe.kind === 'dockerfile') return readDockerignore(folder, [dockerfile]);
  for (const line of explained(recipe.plan)) session.progress(plain(line));
  if (await tree.has('.dockerignore')) return readDockerignore(folder);
  return parseDockerignore(ignoredBy(recipe.plan).join('\n'));
}

function buildOf(options: DeployOptions, existing: AppView | undefined): { dockerfile: string; preset?: PresetName } {
  const before = existing?.spec.build;
  if (options.preset !== undefined) return { dockerfile: before?.dockerfile ?? 'Dockerfile', preset: options.preset };
  if (options.dockerfile !== undefined) return { dockerfile: options.dockerfile };
  return {
    dockerfile: before?.dockerfile ?? 'Dockerfile',
    ...(before?.preset === undefined ? {} : { preset: before.preset }),
  };
}

interface Sent {
  readonly source: string;
  readonly files: number;
  /** The size of the unpacked files. */
  readonly bytes: number;
  /** How much of the archive this run sent. */
  readonly sentBytes: number;
}

async function send(options: {
  readonly folder: string;
  readonly excludes: Excludes;
  readonly session: Session;
  readonly endpoint: Parameters<typeof uploadArchive>[0]['endpoint'];
  readonly signal: AbortSignal;
}): Promise<Sent> {
  const { folder, excludes, session, endpoint, signal } = options;
  const { stderr } = session.context;
  const temporary = await mkdtemp(join(tmpdir(), 'holdfast-deploy-'));
  try {
    const file = join(temporary, 'source.tar.gz');
    const packed = await pack({ folder, excludes, file, signal });
    session.progress(
      `Packed ${packed.files} files, ${mebibytes(packed.treeBytes)} (${mebibytes(packed.bytes)} to send) …`,
    );
    const progress = transferProgress('Sent', stderr, systemClock);
    try {
      const { archive, bytes } = packed;
      const uploaded = await uploadArchive({
        endpoint,
        file,
        archive,
        bytes,
        signal,
        clock: systemClock,
        call: (method, params, deadlineMs) => session.call(method, params, { deadlineMs }),
        onProgress: (sentBytes) => progress.update(sentBytes, bytes),
        onRetry: (error) => session.progress(`Trying again: ${error.message}`),
      });
      return { ...uploaded, files: packed.files, bytes: packed.treeBytes };
    } finally {
      progress.end();
    }
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function pack(options: {
  readonly folder: string;
  readonly excludes: Excludes;
  readonly file: string;
  readonly signal: AbortSignal;
}): Promise<PackedFolder> {
  const { folder, ...rest } = options;
  try {
    return await packFolder({ root: folder, limits: defaultSourceLimits, ...rest });
  } catch (error) {
    if (error instanceof AppError || options.signal.aborted) throw error;
    throw new AppError('source_invalid', `cannot read the folder: ${toAppError(error).message}`, { cause: error });
  }
}

/** What the app has stays, secrets as well: they are shown as `***`, which the agent takes for what they are. */
function specOf(options: DeployOptions, existing: AppView | undefined, source: string): DeclaredAppInput {
  const build = buildOf(options, existing);
  if (existing === undefined) {
    const { app: name, path, env } = options;
    return { name, ...(path !== undefined && { path }), source, build, env: { ...env } };
  }
  const { image: _image, ref: _ref, git_auth: _auth, dir: _dir, build: before, ...kept } = existing.spec;
  const { preset: _preset, ...restOfBuild } = before;
  return {
    ...kept,
    path: options.path ?? kept.path,
    source,
    auto_sync: false,
    build: { ...restOfBuild, ...build },
    env: { ...kept.env, ...options.env },
  };
}

/** Tells the user if the app ran something else until now, or has a pending version. */
function tellWhatIsReplaced(session: Session, existing: AppView | undefined): void {
  if (existing === undefined) return;
  const { image, source, ref } = existing.spec;
  const before =
    image ?? (source?.startsWith('upload:') === true ? undefined : [source, ref].filter(Boolean).join(' '));
  if (before !== undefined)
    session.progress(`${existing.name} ran ${before} until now; from now on it runs this folder.`);
  if (existing.pendingVersion !== null) {
    session.progress(
      `Version ${existing.pendingVersion} is pending. This deployment is based on version ${existing.liveVersion}, so it does not have the other changes of version ${existing.pendingVersion}.`,
    );
  }
}

type Ensured = ResultOf<AgentMethods['versions.ensure']>;

function ensure(session: Session, app: string): Promise<Ensured> {
  return session.call(
    'versions.ensure',
    { app },
    {
      deadlineMs: ensureDeadlineMs,
      onItem: ({ version, phase, message }) => {
        session.progress(`version ${version}: ${phase}${message === '' ? '' : `: ${message}`}`);
      },
    },
  );
}

function resultText(result: {
  readonly app: string;
  readonly path: string | undefined;
  readonly sentBytes: number;
  readonly changes: readonly Change[];
  readonly ensured: Ensured | undefined;
}): string {
  const { app, path, ensured } = result;
  const lines = result.changes.map((change) => changeText(change, false));
  if (path !== undefined) lines.push(`route: ${path}`);
  const url = result.changes.flatMap((change) => (typeof change.url === 'string' ? [`url: ${plain(change.url)}`] : []));
  if (ensured === undefined) {
    lines.push(
      ...url,
      `The next call builds and starts it, and waits until it is ready. \`holdfast ensure ${app}\` does so now and shows each step.`,
    );
    return lines.join('\n');
  }
  const steps = [
    ensured.timings.buildMs === null ? [] : [`build ${seconds(ensured.timings.buildMs)}`],
    ensured.timings.rolloutMs === null ? [] : [`rollout ${seconds(ensured.timings.rolloutMs)}`],
  ].flat();
  lines.push(`version ${ensured.version} is ready${steps.length === 0 ? '' : ` (${steps.join(', ')})`}`, ...url);
  return lines.join('\n');
}

function variable(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be KEY=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
