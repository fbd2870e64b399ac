/** `holdfast whoami`, and `holdfast tokens`: who may call the agent. */
import { randomBytes } from 'node:crypto';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { timeFromNow } from '../../shared/command/option-values.ts';
import { tokenDigest } from '../../shared/config/sections.ts';
import { type Scope, scopes } from '../../shared/protocol/methods.ts';
import type { CliContext } from '../context.ts';
import { openSession } from '../session.ts';
import { table } from '../text.ts';

export function whoamiCommand(context: CliContext): Command {
  return new Command('whoami')
    .description('show who the agent takes you for')
    .action(async (_options: unknown, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call('tokens.whoami', {});
      session.show(result, ({ name, scopes: held, expires }) =>
        [`${name}: ${held.join(', ')}`, ...(expires === null ? [] : [`until ${expires}`])].join(', '),
      );
    });
}

export function tokensCommand(context: CliContext): Command {
  return new Command('tokens')
    .description('list the tokens that may call the agent, or make a new one')
    .action(async (_options: unknown, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call('tokens.list', {});
      session.show(result, ({ tokens }) =>
        table(
          ['NAME', 'SCOPES', 'VALUES', 'EXPIRES', 'LAST USED'],
          tokens.map((one) => [
            one.name,
            one.scopes.join(', '),
            String(one.values),
            one.expires ?? 'never',
            one.lastUsedAt ?? '-',
          ]),
        ),
      );
    })
    .addCommand(newCommand(context));
}

function newCommand(context: CliContext): Command {
  return new Command('new')
    .description(
      'make a token, and print it once with the lines for the configuration of the agent, which keep only its hash',
    )
    .addArgument(new Argument('<name>', 'name of the token').argParser(tokenName))
    .addOption(new Option('--scope <scope...>', 'what it allows').choices([...scopes]).default(['deploy']))
    .option('--expires <time>', 'when it ends: 2027-01-01, or 90d from now', timeFromNow)
    .action((name: string, options: { scope: Scope[]; expires?: string }) => {
      const value = randomBytes(32).toString('base64url');
      const digest = tokenDigest(value);
      context.stderr.write('The token, which is not shown again:\n');
      context.stdout.write(`${value}\n`);
      const lines = [
        '[[token]]',
        `name = "${name}"`,
        `scopes = [${options.scope.map((one) => `"${one}"`).join(', ')}]`,
        `value_sha256 = ["${digest}"]`,
        ...(options.expires === undefined ? [] : [`expires = "${options.expires}"`]),
      ];
      context.stderr.write(`\nFor the configuration of the agent:\n\n${lines.join('\n')}\n`);
    });
}

function tokenName(text: string): string {
  if (!/^[A-Za-z0-9._-]{1,63}$/.test(text))
    throw new InvalidArgumentError('It must be 1 to 63 of A-Z, a-z, 0-9 and . _ -');
  return text;
}
