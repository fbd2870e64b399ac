/** The options of the builder, as `holdfast builder serve` and `node builder/main.ts` take them. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { positiveInteger, timeoutSeconds } from '../shared/command/option-values.ts';
import { toolNames, type ToolName, type ToolSettings } from './tool.ts';

/** Paths are as they were given: relative ones start at the working folder. */
export interface ServeOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly tokenFile?: string;
  /** Default: the first program that is installed. */
  readonly tool?: ToolName;
  readonly dataDir?: string;
  readonly registryConfig?: string;
  readonly registryCerts?: string;
  readonly insecureRegistry: readonly string[];
  readonly allowDestination: readonly string[];
  readonly isolation: ToolSettings['isolation'];
  readonly maxConcurrent: number;
  readonly maxQueue: number;
  readonly maxContextBytes: number;
  readonly maxTreeBytes: number;
  readonly maxFiles: number;
  readonly minFreeBytes: number;
  /** Seconds that one build may take, without its wait in the queue. */
  readonly timeout: number;
  /** Seconds that running builds have to end after SIGTERM. */
  readonly drain: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
}

const gibibyte = 1024 ** 3;

/** @throws CommanderError where the options are wrong, and after `--help`. */
export function parseServeOptions(args: readonly string[], writeErr: (text: string) => void): ServeOptions {
  const command = new Command('holdfast builder serve')
    .description('build and push images for agents, with buildah, podman or docker of this machine, until Ctrl-C')
    .addOption(
      new Option('--listen <host:port>', 'where to listen')
        .argParser(listenAddress)
        .default({ host: '127.0.0.1', port: 7500 }, '127.0.0.1:7500'),
    )
    .option('--token-file <file>', 'file with the bearer token of agents; required to listen beyond loopback')
    .addOption(
      new Option('--tool <name>', 'program that builds; default: the first that is installed').choices(toolNames),
    )
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
    .option('--timeout <seconds>', 'time of one build, without its wait in the queue', timeoutSeconds, 1_800)
    .option('--drain <seconds>', 'time that running builds have to end after SIGTERM', positiveInteger, 300)
    .option('--tls-cert <file>', 'PEM file of the certificate; with --tls-key')
    .option('--tls-key <file>', 'PEM file of its key')
    .addOption(new Option('-o, --output <form>', 'form of errors').choices(['table', 'json']).default('table'))
    // Every command of the CLI takes it.
    .addOption(new Option('--agent <url>').hideHelp())
    .exitOverride()
    .configureOutput({ writeErr });
  return command.parse(args, { from: 'user' }).opts<ServeOptions>();
}

function listenAddress(text: string): ServeOptions['listen'] {
  const match = /^(?:\[([0-9a-f:]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/i.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new InvalidArgumentError('It must be host:port.');
  return { host: match[1] ?? match[2] ?? '', port };
}

function byteCount(text: string): number {
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text) || value === 0) throw new InvalidArgumentError('It must be a number of bytes.');
  return value;
}

function collect(value: string, values: readonly string[]): readonly string[] {
  return [...values, value];
}
