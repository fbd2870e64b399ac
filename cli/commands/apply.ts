/** `holdfast apply -f FILE`: declares the apps of a file. */
import { Command } from 'commander';
import type { Change } from '../../shared/protocol/views.ts';
import { readAppFile } from '../app-file.ts';
import type { CliContext } from '../context.ts';
import { openSession } from '../session.ts';
import { plain } from '../text.ts';

/** The agent asks the registry or reads the folder of each app, and waits for its routers. */
const deadlineMs = 120_000;

export function applyCommand(context: CliContext): Command {
  return new Command('apply')
    .description('declare the apps of a file: create them, or give them a new version')
    .requiredOption('-f, --file <file>', 'app file (TOML with [[app]]; see docs/app-file.md)')
    .option('--dry-run', 'say what would change and change nothing', false)
    .action(async (options: { file: string; dryRun: boolean }, command: Command) => {
      // Read first: a wrong file is told whether an agent can be reached or not.
      const apps = readAppFile({ file: options.file, env: context.env });
      const session = openSession(context, command);
      if (context.stderr.isTTY === true)
        session.progress(`Applying ${apps.length === 1 ? 'one app' : `${apps.length} apps`} …`);
      const result = await session.call('apps.apply', { apps, dryRun: options.dryRun }, { deadlineMs });
      session.show(result, ({ changes, dryRun, routers }) => {
        const lines = changes.map((change) => changeText(change, dryRun));
        if (routers.expired > 0) {
          lines.push(`${routers.expired} router(s) did not acknowledge and count as gone: their lease has run out.`);
        }
        return lines.join('\n');
      });
    });
}

function changeText({ app, action, version, fields }: Change, dryRun: boolean): string {
  if (action === 'unchanged') return `${app}: unchanged, version ${version}`;
  const verb = action === 'create' ? 'created' : 'updated';
  const head = `${app}: ${dryRun ? `would be ${verb}` : verb}, version ${version}`;
  if (action === 'create') return head;
  const shown = fields.map(({ key, from, to }) => `  ${key}: ${valueText(from)} → ${valueText(to)}`);
  return [head, ...shown].join('\n');
}

/** Digests as short as git shows them. */
function valueText(value: unknown): string {
  const digest = typeof value === 'string' ? /^sha256:([0-9a-f]{12})[0-9a-f]{52}$/.exec(value)?.[1] : undefined;
  if (digest !== undefined) return digest;
  return value === undefined || value === null ? '(none)' : plain(JSON.stringify(value));
}
