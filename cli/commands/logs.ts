/** `holdfast logs NAME` shows the log of an app; with `--build`, the log of its image build. */
import { Command } from 'commander';
import { AppError } from '../../shared/errors.ts';
import type { CliContext } from '../context.ts';
import { positiveInteger, tailLines } from '../../shared/command/option-values.ts';
import { type Session, openSession } from '../session.ts';
import { logLine, shortTag } from '../text.ts';

const followDeadlineMs = 24 * 3_600_000;
/** The most that one answer lists. */
const maxVersions = 1_000;
/** The number of lines kept of a build. */
const buildTail = 200;
const maxBuildTail = 1_000;

interface LogsOptions {
  readonly follow: boolean;
  readonly tail: number;
  readonly version?: number;
  readonly build: boolean;
}

export function logsCommand(context: CliContext): Command {
  return new Command('logs')
    .description("show the log of an app's instances, or of its image build")
    .argument('<name>', 'name of the app')
    .option('-f, --follow', 'keep printing new lines until Ctrl-C, or with --build until the build ends', false)
    .option('--tail <n>', 'number of past lines to show of each instance, up to 10000', tailLines, 100)
    .option('--version <n>', 'only this version', positiveInteger)
    .option('--build', 'show the log of the image build, by default of the newest version', false)
    .action(async (name: string, options: LogsOptions, command: Command) => {
      const session = openSession(context, command);
      const { follow, version } = options;
      if (options.build) {
        const isGiven = command.getOptionValueSource('tail') !== 'default';
        await showBuild(session, name, { ...options, tail: isGiven ? options.tail : buildTail });
        return;
      }
      const { tail } = options;
      await tellWhatRuns(session, name, version);
      await session.call(
        'logs.follow',
        { app: name, tail, follow, version },
        {
          ...(follow ? { deadlineMs: followDeadlineMs } : {}),
          onItem: (item) => {
            const line = (): string => `v${item.version} ${item.instance} | ${logLine(item.line, context.stdout)}`;
            context.stdout.write(`${session.isJson ? JSON.stringify(item) : line()}\n`);
          },
        },
      );
    });
}

async function showBuild(session: Session, app: string, options: LogsOptions): Promise<void> {
  const { follow, version } = options;
  const tail = Math.min(options.tail, maxBuildTail);
  const { build } = await session.call(
    'builds.logs',
    { app, tail, follow, version },
    {
      ...(follow ? { deadlineMs: followDeadlineMs } : {}),
      onItem: (item) =>
        session.context.stdout.write(
          `${session.isJson ? JSON.stringify(item) : logLine(item.line, session.context.stdout)}\n`,
        ),
    },
  );
  const { failure, state, tag } = build;
  const why = failure === null ? '' : `: ${failure.code}: ${failure.message}`;
  session.progress(`build ${shortTag(tag)} of ${build.app} version ${build.version}: ${state}${why}`);
}

/** Explains why there may be nothing to read, since an app without instances has no log. @throws AppError app_not_found, version_not_found */
async function tellWhatRuns(session: Session, name: string, version: number | undefined): Promise<void> {
  const { state, targets } = await session.call('apps.get', { app: name });
  if (version !== undefined) {
    const { versions } = await session.call('versions.list', { app: name, limit: maxVersions });
    const isListed = versions.some((one) => one.version === version);
    const isOlder = versions.length === maxVersions && version < (versions.at(-1)?.version ?? 0);
    if (!isListed && !isOlder) throw new AppError('version_not_found', `app ${name} has no version ${version}`);
  }
  if (targets > 0) return;
  if (state === 'asleep')
    session.progress(`${name} is asleep, so no instance is running. A call or \`holdfast ensure ${name}\` starts it.`);
  if (state === 'failed')
    session.progress(
      `${name} has failed, so no instance is running. \`holdfast versions ${name}\` shows its last log lines.`,
    );
}
