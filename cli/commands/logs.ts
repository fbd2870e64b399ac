/** `holdfast logs NAME`: what the app writes. */
import { Command } from 'commander';
import { AppError } from '../../shared/errors.ts';
import type { CliContext } from '../context.ts';
import { positiveInteger, tailLines } from '../options.ts';
import { type Session, openSession } from '../session.ts';

const followDeadlineMs = 24 * 3_600_000;
/** As many as one answer has. */
const maxVersions = 1_000;

export function logsCommand(context: CliContext): Command {
  return new Command('logs')
    .description("show log lines of an app's instances")
    .argument('<name>', 'name of the app')
    .option('-f, --follow', 'go on until Ctrl-C', false)
    .option('--tail <n>', 'lines of each instance to begin with, at most 10000', tailLines, 100)
    .option('--version <n>', 'of this version only', positiveInteger)
    .action(async (name: string, options: { follow: boolean; tail: number; version?: number }, command: Command) => {
      const session = openSession(context, command);
      const { follow, tail, version } = options;
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
