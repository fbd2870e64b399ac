/** The builder as a process: `node builder/main.ts`, which `holdfast builder serve` turns into. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { UsageError, exitCodes } from '../shared/command/exit-code.ts';
import { reportError, wantsJson } from '../shared/command/report-error.ts';
import { watchSignals } from '../shared/command/signals.ts';
import { tokenValue } from '../shared/config/sections.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import { createLog } from '../shared/log.ts';
import { aborted, deadlineSignal } from '../shared/wait/abort.ts';
import { systemClock } from '../shared/wait/clock.ts';
import { parseServeOptions, type ServeOptions } from './command-line.ts';
import { openBuilder, type BuilderOptions } from './open-builder.ts';

const { env } = process;
const { interrupted, killed } = watchSignals();
const log = createLog({ component: 'builder', level: 'info' });

const args = process.argv.slice(2);
const isJson = wantsJson(args);
const write = (text: string): void => void process.stderr.write(text);
// The reader of `--help` may stop early, as `head` does.
process.stdout.on('error', () => process.exit(exitCodes.ok));
try {
  await serve(parseServeOptions(args, isJson ? () => undefined : write));
} catch (error) {
  process.exitCode = reportError(error, { isJson, write, interrupted });
}

/** Builds for agents until the first signal, then drains. */
async function serve(options: ServeOptions): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  const settings = await settingsOf(options, isRoot);
  const builder = await openBuilder(settings, { env, isRoot, killed, clock: systemClock, log });
  const scheme = settings.tls === undefined ? 'http' : 'https';
  const url = `${scheme}://${settings.host}:${String(builder.port)}`;
  log.info({ url, tool: builder.toolVersion }, 'the builder listens');
  try {
    await aborted(interrupted);
    log.info('the builder drains: running builds end, nothing new is taken');
    const { signal } = new AbortController();
    using deadline = deadlineSignal({ clock: systemClock, ms: options.drain * 1_000, signal });
    await builder.drain(deadline.signal);
  } finally {
    await builder.close();
  }
  log.info('the builder has stopped');
}

async function settingsOf(options: ServeOptions, isRoot: boolean): Promise<BuilderOptions> {
  const { host, port } = options.listen;
  const token = await tokenOf(options.tokenFile);
  if (token === undefined && !isLoopback(host)) {
    throw new UsageError('--token-file is required: only on a loopback address a builder may do without a token');
  }
  const optional = (path: string | undefined): string | undefined => (path === undefined ? undefined : resolve(path));
  return {
    host,
    port,
    token,
    tls: await tlsOf(options),
    tool: options.tool,
    dataFolder: resolve(options.dataDir ?? defaultFolder(isRoot)),
    authFile: optional(options.registryConfig),
    certificates: optional(options.registryCerts),
    insecure: options.insecureRegistry,
    destinations: options.allowDestination,
    isolation: options.isolation,
    maxConcurrent: options.maxConcurrent,
    maxQueue: options.maxQueue,
    maxContextBytes: options.maxContextBytes,
    maxTreeBytes: options.maxTreeBytes,
    maxFiles: options.maxFiles,
    minFreeBytes: options.minFreeBytes,
    timeoutMs: options.timeout * 1_000,
  };
}

async function tokenOf(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const token = tokenValue.safeParse((await readText(path)).trim());
  // The parser's own message may quote the token.
  if (!token.success) {
    throw new UsageError(`${resolve(path)} holds no token: 16 to 512 of A-Z, a-z, 0-9 and . _ ~ + / = -`);
  }
  return token.data;
}

async function tlsOf({ tlsCert, tlsKey }: ServeOptions): Promise<BuilderOptions['tls']> {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw new UsageError('--tls-cert and --tls-key need each other');
  return { cert: await readText(tlsCert), key: await readText(tlsKey) };
}

async function readText(path: string): Promise<string> {
  const file = resolve(path);
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new AppError('config_invalid', `${file} cannot be read: ${toAppError(error).message}`, { cause: error });
  }
}

function defaultFolder(isRoot: boolean): string {
  if (isRoot) return '/var/lib/holdfast-builder';
  const { XDG_DATA_HOME: data, HOME: home } = env;
  const folder = data ?? (home === undefined ? undefined : join(home, '.local/share'));
  if (folder === undefined) throw new UsageError('--data-dir is required: HOME is not set');
  return join(folder, 'holdfast-builder');
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
