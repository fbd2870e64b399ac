/** `holdfast audit`: who asked for what, newest last. */
import { Command } from 'commander';
import { listLimit, timeAgo } from '../../shared/command/option-values.ts';
import type { CliContext } from '../context.ts';
import { openSession } from '../session.ts';
import { table } from '../text.ts';

interface AuditOptions {
  readonly app?: string;
  readonly by?: string;
  readonly method?: string;
  readonly failed: boolean;
  readonly since?: string;
  readonly limit: number;
}

export function auditCommand(context: CliContext): Command {
  return new Command('audit')
    .description('list who asked for what, denials included, newest last')
    .option('--app <name>', 'only what is about this app, which may be deleted')
    .option('--by <token>', 'only what this token asked for')
    .option('--method <method>', 'only this RPC method, such as apps.apply')
    .option('--failed', 'only what was refused or failed', false)
    .option('--since <time>', 'only from then on: 2026-12-01, 2026-12-01T09:00:00Z, or 30m, 24h, 7d ago', timeAgo)
    .option('--limit <n>', 'maximum number to list, up to 1000', listLimit, 100)
    .action(async ({ app, by, method, failed, since, limit }: AuditOptions, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call('audit.list', { app, actor: by, method, failed, since, limit });
      session.show(result, ({ entries }) =>
        table(
          ['TIME', 'BY', 'FROM', 'WHAT', 'APP', 'OUTCOME', 'DETAIL'],
          entries
            .toReversed()
            .map((one) => [one.at, one.actor ?? '-', one.address, one.method, one.app ?? '', one.outcome, one.detail]),
        ),
      );
    });
}
