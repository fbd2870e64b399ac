/** `holdfast logs NAME`: what the app writes; `--build`: what the build of its image wrote. */
import { Command } from 'commander';
import { AppError } from '../../shared/errors.ts';
import type { CliContext } from '../context.ts';
import { positiveInteger, tailLines } from '../../shared/command/option-values.ts';
import { type Session, openSession } from '../session.ts';
import { shortTag } from '../text.ts';

const followDeadlineMs = 24 * 3_600_000;
/** As many as one answer has. */
const maxVersions = 1_000;
/** Of a build; so many are kept. */
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
    .description("show log lines of an app's instances, or of the build of its image")
    .argument('<name>', 'name of the app')
    .option('-f, --follow', 'go on until Ctrl-C, or with --build until the build ends', false)
    .option('--tail <n>', 'lines of each instance to begin with, at most 10000', tailLines, 100)
    .option('--version <n>', 'of this version only', positiveInteger)
    .option('--build', 'of the build of its image, by default of the newest one', false)
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
        { app: name, tail, follow, ...(version === undefined ? {} : { version }) },
        {
          ...(follow ? { deadlineMs: followDeadlineMs } : {}),
          onItem: (item) => {
            const text = session.isJson ? JSON.stringify(item) : `v${item.version} ${item.instance} | ${item.line}`;
            context.stdout.write(`${text}\n`);
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
    { app, tail, follow, ...(version === undefined ? {} : { version }) },
    {
      ...(follow ? { deadlineMs: followDeadlineMs } : {}),
      onItem: (item) => session.context.stdout.write(`${session.isJson ? JSON.stringify(item) : item.line}\n`),
    },
  );
  const { failure, state, tag } = build;
  const why = failure === null ? '' : `: ${failure.code}: ${failure.message}`;
  session.progress(`build ${shortTag(tag)} of ${build.app} version ${build.version}: ${state}${why}`);
}

/** Nothing to read is no error, but looks like one: says why before. @throws AppError app_not_found, version_not_found */
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
    session.progress(`${name} is asleep, nothing of it runs; a call or \`holdfast ensure ${name}\` starts it.`);
  if (state === 'failed')
    session.progress(`${name} has failed, nothing of it runs; \`holdfast versions ${name}\` has its last log lines.`);
}
