/** `holdfast start`: router, agent and an embedded Postgres on this machine, with an example app declared. */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Command, Option } from 'commander';
import type { ErrorCode } from '../../shared/error-codes.ts';
import { type AppError, toAppError } from '../../shared/errors.ts';
import { aborted, onAbort } from '../../shared/wait/abort.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { retry } from '../../shared/wait/retry.ts';
import { release } from '../../shared/release.ts';
import type { AgentClient } from '../agent-client.ts';
import { readAppFile } from '../app-file.ts';
import type { CliContext } from '../context.ts';
import { type Embedded, createEmbedded, packageRoot } from '../embedded/embedded.ts';
import { isPortTaken, onFreePorts } from '../embedded/ports.ts';
import { type EmbeddedPorts, type Workspace, openWorkspace } from '../embedded/workspace.ts';
import { UsageError } from '../../shared/command/exit-code.ts';
import { portNumber } from '../../shared/command/option-values.ts';

interface StartOptions {
  readonly port?: number;
  readonly watch: boolean;
  readonly adopt: boolean;
}

const leadDeadlineMs = 60_000;
const pollMs = 50;

export function startCommand(context: CliContext): Command {
  return new Command('start')
    .description('run Holdfast on this machine until Ctrl-C')
    .option('--port <port>', 'port for calls (default: 8080 or the next free port)', portNumber)
    .option('--no-watch', 'do not apply changes in the folders of apps')
    .option('--adopt', 'take over the data that an earlier release kept in the folder .holdfast', false)
    .addOption(new Option('--watch').hideHelp())
    .action(async (options: StartOptions) => {
      requireDatabase();
      const workspace = await openWorkspace(context.cwd, { env: context.env, adopt: options.adopt });
      try {
        await runEmbedded(workspace, options, context);
      } finally {
        await workspace.close();
      }
    });
}

/** Resolves after an orderly end by the user. @throws AppError when a part cannot be started or kept running. */
async function runEmbedded(workspace: Workspace, options: StartOptions, context: CliContext): Promise<void> {
  const say = (message: string): void => {
    context.stderr.write(`${message}\n`);
  };
  const failed = new AbortController();
  const ended = AbortSignal.any([context.interrupted, failed.signal]);
  const onGiveUp = (error: AppError): void => failed.abort(error);
  let embedded: Embedded | undefined;
  using _killed = onAbort(context.killed, () => embedded?.kill());
  const startOn = async (ports: EmbeddedPorts): Promise<EmbeddedPorts> => {
    const place = shown(context, workspace.folder);
    say(
      embedded === undefined
        ? `Starting Holdfast ${release}; data and logs are in ${place} …`
        : 'Another program took a port meanwhile; starting again with others …',
    );
    workspace.configure(ports, { watch: options.watch });
    embedded = createEmbedded({ workspace, ports, env: context.env, onEvent: say, onGiveUp });
    try {
      await embedded.start(ended);
    } catch (error) {
      if (isPortTaken(error)) await embedded.stop();
      throw error;
    }
    return ports;
  };
  try {
    const ports = await onFreePorts(options.port, startOn);
    const agentUrl = `http://127.0.0.1:${ports.rpc}`;
    const agent = context.connect({ url: agentUrl, token: workspace.cliToken });
    const callUrl = `http://127.0.0.1:${ports.calls}`;
    const example = await declareExample(agent, context, ended);
    workspace.announce(agentUrl);
    context.stdout.write(`\n${whatNow(context, { callUrl, example, watch: options.watch })}\n\n`);
    await aborted(ended);
  } catch (error) {
    if (!context.interrupted.aborted) throw error;
  } finally {
    await stop(embedded, say);
  }
  if (failed.signal.aborted) throw failed.signal.reason;
}

async function stop(embedded: Embedded | undefined, say: (message: string) => void): Promise<void> {
  if (embedded === undefined) return;
  say('Stopping; press Ctrl-C again to stop at once …');
  await embedded.stop();
  say('Stopped.');
}

interface Example {
  readonly file: string;
  readonly source: string | undefined;
  readonly url: string | undefined;
}

/**
 * Declares the example of the package, unless the user has removed it from among apps of their own. Waits until the agent
 * leads, which it does once it has the database.
 */
async function declareExample(
  agent: AgentClient,
  context: CliContext,
  signal: AbortSignal,
): Promise<Example | undefined> {
  const { apps } = await untilLeading(
    () => agent.call('apps.list', {}, { signal, deadlineMs: leadDeadlineMs }),
    signal,
  );
  const file = join(packageRoot, 'examples', 'apps.toml');
  if (!existsSync(file)) return undefined;
  const declared = readAppFile({ file, env: context.env });
  const isOurs = apps.length === 0 || apps.some(({ name }) => declared.some((app) => app.name === name));
  const [first] = declared;
  if (!isOurs || first === undefined) return undefined;
  const params = { apps: declared, dryRun: false };
  const { changes } = await agent.call('apps.apply', params, { signal, deadlineMs: leadDeadlineMs });
  return { file, source: first.source, url: changes.find(({ app }) => app === first.name)?.url ?? undefined };
}

/** What calls to an agent that starts may fail with. */
const startingCodes = new Set<ErrorCode>(['not_leader', 'platform_unavailable', 'store_unavailable', 'link_lost']);

async function untilLeading<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  return await retry(call, {
    clock: systemClock,
    signal,
    backoff: { minMs: pollMs, maxMs: pollMs },
    deadlineMs: leadDeadlineMs,
    isPassing: (error) => startingCodes.has(toAppError(error).code),
  });
}

function whatNow(
  context: CliContext,
  {
    callUrl,
    example,
    watch,
  }: { readonly callUrl: string; readonly example: Example | undefined; readonly watch: boolean },
): string {
  if (example === undefined) {
    return `Holdfast is running. Send calls to ${callUrl}; \`npx holdfast apps\` lists the apps.\nPress Ctrl-C to stop.`;
  }
  const { file, source, url = callUrl } = example;
  return [
    'Holdfast is running. Call the example app; the call starts it:',
    '',
    `  curl ${url}`,
    '',
    ...elsewhere(url, callUrl),
    ...(watch
      ? [`Change a file in ${shown(context, source ?? file)} and call it again: changes are applied at once.`]
      : [
          `Change it in ${shown(context, source ?? file)}, then run \`npx holdfast apply -f ${shown(context, file)}\`.`,
        ]),
    'For a folder of your own: `npx holdfast dev DIR`.',
    '',
    '`npx holdfast apps` shows its state. Press Ctrl-C to stop.',
  ].join('\n');
}

/** What to do where the name of the host is not resolved, which RFC 6761 §6.3 leaves to programs. */
function elsewhere(url: string, callUrl: string): string[] {
  const { host, hostname, pathname, search } = new URL(url);
  if (!hostname.endsWith('.localhost')) return [];
  const local = `${callUrl}${pathname}${search}`;
  return [
    `Browsers and curl find ${hostname} on this machine. A program that does not can call`,
    `${local} with the header \`Host: ${host}\`.`,
    '',
  ];
}

function shown(context: CliContext, path: string): string {
  const short = relative(context.cwd, path);
  return short === '' || short.startsWith('..') ? path : short;
}

function requireDatabase(): void {
  try {
    import.meta.resolve('@electric-sql/pglite');
  } catch {
    throw new UsageError(
      'the embedded Postgres is not installed. It is a development dependency: run `npm install` without --omit=dev',
    );
  }
}
