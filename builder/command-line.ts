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
    .description('build and push images for agents with the buildah, podman or docker of this machine, until Ctrl-C')
    .addOption(
      new Option('--listen <host:port>', 'address to listen on')
        .argParser(listenAddress)
        .default({ host: '127.0.0.1', port: 7500 }, '127.0.0.1:7500'),
    )
    .option(
      '--token-file <file>',
      'file that contains the bearer token of the agents; required unless it listens on a loopback address',
    )
    .addOption(
      new Option('--tool <name>', 'program that builds the images; default: the first one that is installed').choices(
        toolNames,
      ),
    )
    .option(
      '--data-dir <folder>',
      'folder for layers and running builds; default: /var/lib/holdfast-builder, or a folder in the home folder',
    )
    .option(
      '--registry-config <file>',
      'Docker config.json with registry credentials; default: the one that the program uses',
    )
    .option(
      '--registry-certs <folder>',
      'folder with CA certificates (*.crt) and client certificates (*.cert, *.key) for registries',
    )
    .option('--insecure-registry <host>', 'registry to reach by plain HTTP; may be repeated', collect, [])
    .option(
      '--allow-destination <prefix>',
      'push only images whose names begin with this; may be repeated',
      collect,
      [],
    )
    .addOption(
      new Option('--isolation <kind>', 'how buildah and podman isolate RUN instructions')
        .choices(['oci', 'rootless', 'chroot'])
        .default('chroot'),
    )
    .option('--max-concurrent <n>', 'maximum number of builds that run at the same time', positiveInteger, 2)
    .option('--max-queue <n>', 'maximum number of builds that wait', positiveInteger, 20)
    .option('--max-context-bytes <n>', 'maximum size of a packed build context', byteCount, gibibyte)
    .option('--max-tree-bytes <n>', 'maximum size of an unpacked build context', byteCount, 2 * gibibyte)
    .option('--max-files <n>', 'maximum number of files in a build context', positiveInteger, 100_000)
    .option(
      '--min-free-bytes <n>',
      'delete cached layers when the disk has less free space than this',
      byteCount,
      2 * gibibyte,
    )
    .option(
      '--timeout <seconds>',
      'maximum time of one build, not counting the time in the queue',
      timeoutSeconds,
      1_800,
    )
    .option('--drain <seconds>', 'time for running builds to finish after SIGTERM', positiveInteger, 300)
    .option('--tls-cert <file>', 'PEM file with the certificate; needs --tls-key')
    .option('--tls-key <file>', 'PEM file with the key of the certificate')
    .addOption(new Option('-o, --output <form>', 'format of errors').choices(['table', 'json']).default('table'))
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
