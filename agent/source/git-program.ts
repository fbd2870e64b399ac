/** Runs the `git` program, without the configuration of the user and the machine, in a process group that ends with the signal. */
import { spawn } from 'node:child_process';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError } from '../../shared/errors.ts';
import { readBoundedText } from '../../shared/net/read-bounded.ts';
import { onAbort } from '../../shared/wait/abort.ts';

export interface GitEnd {
  readonly code: number;
  /** The last 16 KiB of its standard error. */
  readonly stderr: string;
}

export interface GitProcess {
  readonly stdout: Readable;
  /** Resolves when the process and its output have ended. @throws AppError source_unsupported if there is no git; the signal's reason. */
  readonly ended: Promise<GitEnd>;
}

export interface GitOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly config?: readonly (readonly [key: string, value: string])[];
  /** The only protocol that it may use. */
  readonly protocol?: string;
  readonly signal: AbortSignal;
}

export interface GitProgram {
  start(args: readonly string[], options: GitOptions): GitProcess;
  /** Returns the whole output. @throws as `ended`, and AppError source_invalid if the output is over 4 MiB. */
  run(args: readonly string[], options: GitOptions): Promise<GitEnd & { readonly stdout: string }>;
}

const maxStderrBytes = 16 * 1024;
const maxStdoutBytes = 4 * 1024 ** 2;
/**
 * Address space for each program of git: a delta of a few bytes may claim to expand to gigabytes, which git allocates before anyone can
 * check. This is far below the memory of an agent, and far above what an honest repository within our bounds needs.
 */
const defaultMemoryBytes = 768 * 1024 ** 2;
/** A shell that does not know this limit runs git without it. */
const limited = 'ulimit -v "$1" 2>/dev/null || :; shift; exec "$@"';
/** The exit code of sh(1) for a program that it does not find. */
const notFoundCode = 127;
/** Variables that git inherits from the agent: how to reach servers, and which certificates to trust. */
const inherited = ['PATH', 'TMPDIR', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'GIT_EXEC_PATH'].concat(
  ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'].flatMap((name) => [name, name.toUpperCase()]),
);
/** No hooks, helpers, submodules or background work, and bounded memory, because the repository is not trusted. */
const config: readonly (readonly [string, string])[] = [
  ['core.hooksPath', '/dev/null'],
  ['core.attributesFile', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['fetch.unpackLimit', '1'],
  ['fetch.recurseSubmodules', 'false'],
  ['transfer.bundleURI', 'false'],
  ['pack.threads', '1'],
  ['core.bigFileThreshold', '8m'],
  ['core.deltaBaseCacheLimit', '16m'],
  ['core.packedGitWindowSize', '16m'],
  ['core.packedGitLimit', '64m'],
  ['protocol.version', '2'],
  ['http.followRedirects', 'initial'],
  ['http.lowSpeedLimit', '1000'],
  ['http.lowSpeedTime', '30'],
];

export function createGitProgram(deps: {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** An empty folder that git and ssh use as the home of the user. */
  readonly home: string;
  readonly program?: string;
  readonly memoryBytes?: number;
}): GitProgram {
  const { home, program = 'git', memoryBytes = defaultMemoryBytes } = deps;
  const memoryKib = String(Math.floor(memoryBytes / 1024));
  const base: Record<string, string> = {};
  for (const name of inherited) {
    const value = deps.env[name];
    if (value !== undefined) base[name] = value;
  }

  function start(args: readonly string[], options: GitOptions): GitProcess {
    const { signal } = options;
    signal.throwIfAborted();
    const child = spawn('/bin/sh', ['-c', limited, 'sh', memoryKib, program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      // A process group of its own, so that its helpers (ssh, git-remote-https, index-pack) end with it.
      detached: true,
      cwd: home,
      env: {
        ...base,
        HOME: home,
        LC_ALL: 'C',
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_CONFIG_GLOBAL: '/dev/null',
        GIT_ATTR_NOSYSTEM: '1',
        GIT_TERMINAL_PROMPT: '0',
        GIT_ASKPASS: 'false',
        SSH_ASKPASS: 'false',
        GIT_LFS_SKIP_SMUDGE: '1',
        // None by default. Redirects of a server are restricted to it too.
        GIT_ALLOW_PROTOCOL: options.protocol ?? 'none',
        ...configEnv([...config, ...(options.config ?? [])]),
        ...options.env,
      },
    });
    // Read at once, because Node discards unread output when the process exits.
    const stdout = new PassThrough();
    pipeline(child.stdout, stdout).catch(() => undefined);
    const kill = (): void => {
      stdout.destroy();
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // The process has ended.
      }
    };
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-maxStderrBytes)));
    const { promise, resolve, reject } = Promise.withResolvers<GitEnd>();
    const listener = onAbort(signal, kill);
    child.on('error', (error) => reject(noGit(program, error)));
    child.on('close', (code) => {
      listener[Symbol.dispose]();
      if (signal.aborted) reject(signal.reason);
      else if (code === notFoundCode) reject(noGit(program));
      else resolve({ code: code ?? -1, stderr });
    });
    // It may end before anyone waits.
    promise.catch(() => undefined);
    return { stdout, ended: promise };
  }

  return {
    start,
    async run(args, options) {
      const tooMuch = new AbortController();
      const signal = AbortSignal.any([options.signal, tooMuch.signal]);
      const { stdout, ended } = start(args, { ...options, signal });
      const bound = { maxBytes: maxStdoutBytes, what: 'the output of git', tooLarge: outputTooLarge };
      const text = readBoundedText(stdout, bound).catch((error: unknown) => {
        tooMuch.abort(error);
        return '';
      });
      const end = await ended; // rejects with the reason of `tooMuch`
      return { ...end, stdout: await text };
    },
  };
}

function outputTooLarge(message: string): AppError {
  return new AppError('source_invalid', message, { phase: 'source' });
}

function configEnv(pairs: readonly (readonly [string, string])[]): Record<string, string> {
  const env: Record<string, string> = { GIT_CONFIG_COUNT: String(pairs.length) };
  for (const [index, [key, value]] of pairs.entries()) {
    env[`GIT_CONFIG_KEY_${index}`] = key;
    env[`GIT_CONFIG_VALUE_${index}`] = value;
  }
  return env;
}

function noGit(program: string, error?: NodeJS.ErrnoException): AppError {
  return error === undefined
    ? new AppError(
        'source_unsupported',
        `git sources need the program ${program}, which is not installed beside this agent`,
        {
          phase: 'source',
        },
      )
    : new AppError('source_unavailable', `git could not be started (${error.code})`, { phase: 'source', cause: error });
}
