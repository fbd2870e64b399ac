/** `holdfast audit`: who asked for what, newest last. */
import { Command, InvalidArgumentError } from 'commander';
import { listLimit } from '../../shared/command/option-values.ts';
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
    .option('--since <time>', 'only from then on: 2026-12-01, 2026-12-01T09:00:00Z, or 30m, 24h, 7d ago', sinceTime)
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

const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

function sinceTime(text: string): string {
  const [, count, unit = ''] = /^(\d{1,5})([mhd])$/.exec(text) ?? [];
  const ms = count === undefined ? Date.parse(text) : Date.now() - Number(count) * (unitMs[unit] ?? 0);
  if (Number.isNaN(ms)) throw new InvalidArgumentError('It must be a time such as 2026-12-01T09:00:00Z, or 24h.');
  return new Date(ms).toISOString();
}
