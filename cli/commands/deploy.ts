/** `holdfast deploy DIR --app NAME`: sends a folder and declares it as the source of the app. */
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { AppError, toAppError } from '../../shared/errors.ts';
import { presets } from '../../shared/protocol/build-settings.ts';
import type { ResultOf, AgentMethods } from '../../shared/protocol/methods.ts';
import type { AppView, Change } from '../../shared/protocol/views.ts';
import type { CliContext } from '../context.ts';
import { checkFolder, type DeployChoice, sendFolder, specOf } from '../deployment.ts';
import { findEndpoint } from '../endpoint.ts';
import { UsageError } from '../../shared/command/exit-code.ts';
import { type Session, openSession } from '../session.ts';
import { plain, seconds } from '../text.ts';
import { changeText } from './apply.ts';
import { existingFolder } from './init.ts';

interface DeployOptions extends DeployChoice {
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
      const { rules, explained } = await checkFolder(folder, options, existing);
      for (const line of explained) session.progress(line);
      const signal = AbortSignal.any([context.interrupted, deadline]);
      const endpoint = findEndpoint(context, command.optsWithGlobals());
      try {
        const sent = await sendFolder({ folder, rules, session, endpoint, signal });
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

/** Adds a `KEY=VALUE` of the command line. @throws InvalidArgumentError */
export function variable(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be KEY=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
