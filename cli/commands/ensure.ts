/** `holdfast ensure NAME`: starts an app as a call would, and tells each step. */
import { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { positiveInteger } from '../../shared/command/option-values.ts';
import { openSession } from '../session.ts';
import { seconds } from '../text.ts';

const deadlineMs = 15 * 60_000;

export function ensureCommand(context: CliContext): Command {
  return new Command('ensure')
    .description('start an app as a call would, and follow its start')
    .argument('<name>', 'name of the app')
    .option('--version <n>', 'version to start (default: the pending one, or else the live one)', positiveInteger)
    .action(async (name: string, options: { version?: number }, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call(
        'versions.ensure',
        { app: name, version: options.version },
        {
          deadlineMs,
          onItem: ({ version, phase, message }) => {
            session.progress(`version ${version}: ${phase}${message === '' ? '' : `: ${message}`}`);
          },
        },
      );
      session.show(result, ({ app, version, targets, timings }) => {
        const steps = [
          timings.buildMs === null ? '' : `build ${seconds(timings.buildMs)}`,
          timings.rolloutMs === null ? '' : `rollout ${seconds(timings.rolloutMs)}`,
        ].filter((step) => step !== '');
        const took = steps.length === 0 ? '' : ` (${steps.join(', ')})`;
        return `${app}: version ${version} is ready on ${targets === 1 ? 'one target' : `${targets} targets`}${took}`;
      });
    });
}
