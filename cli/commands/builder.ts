/** `holdfast builder serve`: builds images for agents whose `[builder] mode` is `delegate:<url>`. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { systemClock } from '../../shared/wait/clock.ts';
import { tokenValue } from '../../shared/config/sections.ts';
import { AppError } from '../../shared/errors.ts';
import { createLog } from '../../shared/log.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import { openBuilder, type BuilderOptions } from '../../builder/open-builder.ts';
import { toolNames, type ToolName } from '../../builder/tool.ts';
import type { CliContext } from '../context.ts';
import { UsageError } from '../exit-code.ts';
import { positiveInteger } from '../options.ts';

interface ServeOptions {
  readonly listen: Listen;
  readonly tokenFile?: string;
  readonly tool?: ToolName;
  readonly dataDir?: string;
  readonly registryConfig?: string;
  readonly registryCerts?: string;
  readonly insecureRegistry: readonly string[];
  readonly allowDestination: readonly string[];
  readonly isolation: BuilderOptions['isolation'];
  readonly maxConcurrent: number;
  readonly maxQueue: number;
  readonly maxContextBytes: number;
  readonly maxTreeBytes: number;
  readonly maxFiles: number;
  readonly minFreeBytes: number;
  /** Of the program: of one build here. */
  readonly timeout?: number;
  readonly drain: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

interface Listen {
  readonly host: string;
  readonly port: number;
}

const gibibyte = 1024 ** 3;
const defaultTimeoutSeconds = 1_800;

export function builderCommand(context: CliContext): Command {
  const serve = new Command('serve')
    .description('build and push images for agents, with buildah, podman or docker of this machine, until Ctrl-C')
    .addOption(
      new Option('--listen <host:port>', 'where to listen')
        .argParser(listenAddress)
        .default({ host: '127.0.0.1', port: 7500 }, '127.0.0.1:7500'),
    )
    .addOption(new Option('--tool <name>', 'program that builds; default: the first that is there').choices(toolNames))
    .option('--data-dir <folder>', 'for layers and work; default: /var/lib/holdfast-builder, or in the home folder')
    .option('--registry-config <file>', 'config.json with credentials of registries; default: those of the program')
    .option('--registry-certs <folder>', '*.crt of authorities, *.cert and *.key of clients, for registries')
    .option('--insecure-registry <host>', 'a registry that speaks plain HTTP; may be repeated', collect, [])
    .option('--allow-destination <prefix>', 'push only to images below it; may be repeated', collect, [])
    .addOption(
      new Option('--isolation <kind>', 'how buildah and podman run RUN')
        .choices(['oci', 'rootless', 'chroot'])
        .default('chroot'),
    )
    .option('--max-concurrent <n>', 'builds at a time', positiveInteger, 2)
    .option('--max-queue <n>', 'builds that may wait', positiveInteger, 20)
    .option('--max-context-bytes <n>', 'size of a packed context', byteCount, gibibyte)
    .option('--max-tree-bytes <n>', 'size of an unpacked context', byteCount, 2 * gibibyte)
    .option('--max-files <n>', 'files in a context', positiveInteger, 100_000)
    .option('--min-free-bytes <n>', 'with less than this free on the disk, layers are cleared', byteCount, 2 * gibibyte)
    .option('--drain <seconds>', 'time that running builds have to end after SIGTERM', positiveInteger, 300)
    .option('--tls-cert <file>', 'PEM file of the certificate; with --tls-key')
    .option('--tls-key <file>', 'PEM file of its key')
    .action(async (_options: unknown, command: Command) => {
      await serveBuilds(command.optsWithGlobals<ServeOptions>(), context);
    });
  return new Command('builder').description('a builder of images, for agents elsewhere').addCommand(serve);
}

async function serveBuilds(options: ServeOptions, context: CliContext): Promise<void> {
  const { env, interrupted, killed } = context;
  const { host, port } = options.listen;
  const token = await readTokenFile(options.tokenFile, context);
  if (token === undefined && !isLoopback(host)) {
    throw new UsageError('--token-file is required: only on a loopback address a builder may do without a token');
  }
  const isRoot = process.getuid?.() === 0;
  const absolute = (path: string): string => resolve(context.cwd, path);
  const optional = (path: string | undefined): string | undefined => (path === undefined ? undefined : absolute(path));
  const log = createLog({ component: 'builder', level: 'info' });
  const builder = await openBuilder(
    {
      host,
      port,
      token,
      tls: await readTls(options, absolute),
      tool: options.tool,
      dataFolder: absolute(options.dataDir ?? defaultFolder(isRoot, env)),
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
      timeoutMs: (options.timeout ?? defaultTimeoutSeconds) * 1_000,
    },
    { env, isRoot, killed, clock: systemClock, log },
  );
  const scheme = options.tlsCert === undefined ? 'http' : 'https';
  log.info({ url: `${scheme}://${host}:${String(builder.port)}`, tool: builder.toolVersion }, 'the builder listens');
  try {
    await new Promise<void>((resolve) => {
      if (interrupted.aborted) resolve();
      else interrupted.addEventListener('abort', () => resolve(), { once: true });
    });
    log.info('the builder drains: running builds end, nothing new is taken');
    const drained = new AbortController();
    const late = sleep(systemClock, options.drain * 1_000, drained.signal).then(() => drained.abort());
    await builder.drain(drained.signal);
    drained.abort();
    await late;
  } finally {
    await builder.close();
  }
  log.info('the builder has stopped');
}

async function readTokenFile(path: string | undefined, context: CliContext): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const text = await readPem(resolve(context.cwd, path));
  const token = tokenValue.safeParse(text.trim());
  // Not the parser's words, which may quote it.
  if (!token.success) throw new UsageError(`${path} holds no token: 16 to 512 of A-Z, a-z, 0-9 and . _ ~ + / = -`);
  return token.data;
}

async function readTls(options: ServeOptions, absolute: (path: string) => string): Promise<BuilderOptions['tls']> {
  const { tlsCert, tlsKey } = options;
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw new UsageError('--tls-cert and --tls-key need each other');
  return { cert: await readPem(absolute(tlsCert)), key: await readPem(absolute(tlsKey)) };
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError('config_invalid', `${path} cannot be read: ${why}`, { cause: error });
  }
}

function defaultFolder(isRoot: boolean, env: CliContext['env']): string {
  if (isRoot) return '/var/lib/holdfast-builder';
  const { XDG_DATA_HOME: data, HOME: home } = env;
  const folder = data ?? (home === undefined ? undefined : join(home, '.local/share'));
  if (folder === undefined) throw new UsageError('--data-dir is required: HOME is not set');
  return join(folder, 'holdfast-builder');
}

function listenAddress(text: string): Listen {
  const match = /^(?:\[([0-9a-f:]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new InvalidArgumentError('It must be host:port.');
  return { host: match[1] ?? match[2] ?? '', port };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function byteCount(text: string): number {
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text) || value === 0) throw new InvalidArgumentError('It must be a number of bytes.');
  return value;
}

function collect(value: string, values: readonly string[]): readonly string[] {
  return [...values, value];
}
