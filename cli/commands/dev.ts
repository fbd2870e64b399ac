/** `holdfast dev DIR`: deploys a folder, shows the log of its app, and deploys again whenever a file changes. */
import { basename, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { UsageError } from '../../shared/command/exit-code.ts';
import { type AppError, toAppError } from '../../shared/errors.ts';
import { FolderWatch } from '../../shared/presets/folder-watch.ts';
import { appName } from '../../shared/protocol/app-spec.ts';
import { presets } from '../../shared/protocol/build-settings.ts';
import type { AppView, Change } from '../../shared/protocol/views.ts';
import { defaultSourceLimits } from '../../shared/source/limits.ts';
import { aborted } from '../../shared/wait/abort.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import type { CliContext } from '../context.ts';
import { buildSpecOf, checkFolder, type DeployChoice, sendFolder, specOf } from '../deployment.ts';
import { type AgentEndpoint, findEndpoint } from '../endpoint.ts';
import { type Session, openSession } from '../session.ts';
import { logLine, plain, seconds } from '../text.ts';
import { variable } from './deploy.ts';
import { existingFolder } from './init.ts';

interface DevOptions extends Omit<DeployChoice, 'app'> {
  readonly app?: string;
  readonly rm: boolean;
}

const applyDeadlineMs = 120_000;
const ensureDeadlineMs = 30 * 60_000;
const followDeadlineMs = 24 * 3_600_000;
const deleteDeadlineMs = 30_000;
/** Pause before the log is followed again after the agent was lost. */
const followAgainMs = 1_000;
const shownLogLines = 20;

export function devCommand(context: CliContext): Command {
  return new Command('dev')
    .description('deploy a folder, show its log, and deploy it again whenever a file changes, until Ctrl-C')
    .argument('[dir]', 'the folder', '.')
    .option('--app <name>', 'the app (default: the name of the folder)')
    .option('--path <route>', 'route of the app, such as /shop (default for a new app: a host of its own)')
    .option('--env <key=value>', 'environment variable to add to the app; may be repeated', variable)
    .addOption(new Option('--preset <preset>', 'build with this preset instead of a Dockerfile').choices(presets))
    .addOption(new Option('--dockerfile <file>', 'Dockerfile, relative to the folder').conflicts('preset'))
    .option('--rm', 'delete the app at the end; by default it stays, and sleeps when nobody calls it', false)
    .action(async (dir: string, options: DevOptions, command: Command) => {
      const folder = await existingFolder(resolve(context.cwd, dir), dir);
      const app = options.app ?? nameOf(folder);
      const session = openSession(context, command);
      const endpoint = findEndpoint(context, command.optsWithGlobals());
      await new Dev({ folder, session, endpoint, context, choice: { ...options, app }, isRemoved: options.rm }).run();
    });
}

/** Derives the name of an app from that of its folder. @throws UsageError */
function nameOf(folder: string): string {
  const name = basename(folder)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 63)
    .replace(/-+$/, '');
  if (appName.safeParse(name).success) return name;
  throw new UsageError(`the name of the folder, ${basename(folder)}, makes no name of an app: pass --app NAME`);
}

interface DevDeps {
  readonly folder: string;
  readonly choice: DeployChoice;
  readonly session: Session;
  readonly endpoint: AgentEndpoint;
  readonly context: CliContext;
  readonly isRemoved: boolean;
}

class Dev {
  readonly #deps: DevDeps;
  #existing: AppView | undefined;
  #version: number | undefined;
  #url: string | undefined;
  #explained = '';
  #isChanged = false;
  #wake: () => void = () => undefined;
  #following: Promise<void> | undefined;
  /** The start of the newest version. */
  #start: { readonly ended: Promise<void>; readonly stop: AbortController } | undefined;

  constructor(deps: DevDeps) {
    this.#deps = deps;
  }

  /** Resolves after Ctrl-C. @throws UsageError, AppError if the agent cannot be used at all. */
  async run(): Promise<void> {
    const { folder, choice, context, isRemoved } = this.#deps;
    this.#existing = await this.#find();
    if (isRemoved && this.#existing !== undefined)
      throw new UsageError(`app ${choice.app} exists already, and --rm would delete it at the end: pass another --app`);
    const watch = new FolderWatch({
      root: folder,
      spec: () => buildSpecOf(choice, this.#existing),
      limits: defaultSourceLimits,
      clock: systemClock,
      onChange: () => {
        this.#isChanged = true;
        this.#wake();
      },
    });
    try {
      while (!context.interrupted.aborted) {
        await this.#changed();
        if (!context.interrupted.aborted) await this.#deploy();
      }
    } finally {
      await watch.close();
      this.#start?.stop.abort();
      await Promise.all([this.#start?.ended, this.#following]);
    }
    await this.#end();
  }

  /** Resolves when the folder has changed since the last deployment, or on Ctrl-C. */
  async #changed(): Promise<void> {
    if (!this.#isChanged) {
      const { promise, resolve: wake } = Promise.withResolvers<void>();
      this.#wake = wake;
      await Promise.race([promise, aborted(this.#deps.context.interrupted)]);
    }
    this.#isChanged = false;
  }

  /** Deploys what the folder holds now. A failure is told, and the next change tries again. */
  async #deploy(): Promise<void> {
    const { folder, choice, session, endpoint, context } = this.#deps;
    const startMs = performance.now();
    try {
      this.#existing = await this.#find();
      const { rules, explained } = await checkFolder(folder, choice, this.#existing);
      this.#explain(explained);
      const signal = context.interrupted;
      const sent = await sendFolder({ folder, rules, session, endpoint, signal });
      const spec = specOf(choice, this.#existing, sent.source);
      const { changes } = await session.call('apps.apply', { apps: [spec] }, { deadlineMs: applyDeadlineMs });
      for (const change of changes) this.#applied(change, performance.now() - startMs);
    } catch (error) {
      if (context.interrupted.aborted) return;
      this.#say(`not deployed: ${failureLines(toAppError(error))}`);
      this.#say('Watching for changes …');
    }
  }

  #explain(lines: readonly string[]): void {
    const text = lines.join('\n');
    if (text !== this.#explained) for (const line of lines) this.#deps.session.progress(line);
    this.#explained = text;
  }

  #applied({ action, version, url }: Change, ms: number): void {
    this.#url = url ?? this.#url;
    this.#version = version;
    this.#following ??= this.#follow();
    if (action === 'unchanged' && this.#start !== undefined) {
      this.#say(`version ${version}: nothing changed`);
      return;
    }
    this.#say(`version ${version}: applied in ${seconds(ms)}`);
    // The start of an older version is of no interest any longer.
    this.#start?.stop.abort();
    const stop = new AbortController();
    this.#start = {
      stop,
      ended: this.#startVersion(version, AbortSignal.any([stop.signal, this.#deps.context.interrupted])),
    };
  }

  /** Starts the version as a call would, and tells the outcome. Never rejects. */
  async #startVersion(version: number, signal: AbortSignal): Promise<void> {
    const { session, choice } = this.#deps;
    try {
      const { timings, version: started } = await session.call(
        'versions.ensure',
        { app: choice.app },
        { deadlineMs: ensureDeadlineMs, signal },
      );
      const steps = [
        timings.buildMs === null ? [] : [`build ${seconds(timings.buildMs)}`],
        timings.rolloutMs === null ? [] : [`start ${seconds(timings.rolloutMs)}`],
      ].flat();
      const where = this.#url === undefined ? '' : `: ${plain(this.#url)}`;
      this.#say(`version ${started} is ready${steps.length === 0 ? '' : ` (${steps.join(', ')})`}${where}`);
    } catch (error) {
      if (signal.aborted) return;
      this.#say(`version ${version} failed: ${failureLines(toAppError(error))}`);
    }
    this.#say('Watching for changes …');
  }

  /** Prints the lines of the app's log until Ctrl-C. Never rejects. */
  async #follow(): Promise<void> {
    const { session, choice, context } = this.#deps;
    while (!context.interrupted.aborted) {
      try {
        await session.call(
          'logs.follow',
          { app: choice.app, tail: 0, follow: true },
          {
            deadlineMs: followDeadlineMs,
            onItem: ({ version, instance, line }) => {
              context.stdout.write(`v${version} ${instance} | ${logLine(line, context.stdout)}\n`);
            },
          },
        );
      } catch {
        // The agent is away, or the app was deleted: the next deployment tells.
      }
      await sleep(systemClock, followAgainMs, context.interrupted);
    }
  }

  async #find(): Promise<AppView | undefined> {
    const { session, choice } = this.#deps;
    try {
      return await session.call('apps.get', { app: choice.app });
    } catch (error) {
      if (toAppError(error).code === 'app_not_found') return undefined;
      throw error;
    }
  }

  /** Says what becomes of the app, or deletes it. */
  async #end(): Promise<void> {
    const { session, choice, context, isRemoved } = this.#deps;
    const { app } = choice;
    if (this.#version === undefined) return;
    if (!isRemoved) {
      this.#say(`Stopped watching. ${app} stays at version ${this.#version}, and sleeps when nobody calls it.`);
      this.#say(`\`holdfast delete ${app}\` removes it; with --rm, \`holdfast dev\` does so at the end.`);
      return;
    }
    await session.call('apps.delete', { app }, { deadlineMs: deleteDeadlineMs, signal: context.killed });
    this.#say(`Stopped watching, and deleted ${app}.`);
  }

  #say(text: string): void {
    this.#deps.context.stdout.write(`${text}\n`);
  }
}

function failureLines({ code, message, data }: AppError): string {
  const logs = Array.isArray(data?.['logs']) ? data['logs'].slice(-shownLogLines) : [];
  return [`${code}: ${plain(message)}`, ...logs.map((line) => `  | ${plain(String(line))}`)].join('\n');
}
