/** The processes of a measurement: started, pinned to cores, and every one of them ended by its pid. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

interface ProgramOptions {
  readonly name: string;
  /** This Node by default. */
  readonly command?: string;
  /** A URL is a file. */
  readonly args: readonly (string | URL)[];
  /** Below the checkout, by default the checkout. */
  readonly cwd?: string;
  /** CPU list for taskset; any core by default. */
  readonly cores?: string | undefined;
}

export interface Running {
  readonly pid: number;
  /** The first JSON line with a `port` that it printed. */
  readonly hello: { readonly port: number; readonly tlsPort?: number; readonly adminPort?: number };
  stop(): Promise<void>;
}

const startDeadlineMs = 60_000;
const outputDeadlineMs = 180_000;
const stopDeadlineMs = 15_000;

export class Processes {
  readonly #signal: AbortSignal;
  readonly #children = new Set<ChildProcess>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Resolves with the first message by the channel: the embedded Postgres speaks so. */
  async startByMessage(options: ProgramOptions): Promise<void> {
    const child = this.#spawn(options);
    child.stdout!.resume();
    const ready = Promise.withResolvers<unknown>();
    child.once('message', ready.resolve);
    child.once('error', ready.reject);
    child.once('exit', (code) => ready.reject(new Error(`${options.name} ended with ${code}`)));
    const end = this.#within(startDeadlineMs, `${options.name} did not start in time`, ready.reject);
    try {
      await ready.promise;
    } finally {
      end();
    }
  }

  /** Resolves when the program has said where it listens. */
  async start(options: ProgramOptions): Promise<Running> {
    const child = this.#spawn(options);
    const hello = Promise.withResolvers<Running['hello']>();
    let lastLine = '';
    createInterface({ input: child.stdout! }).on('line', (line) => {
      lastLine = line;
      const said = parse(line);
      if (typeof said?.['port'] === 'number') hello.resolve(said as unknown as Running['hello']);
    });
    child.once('error', hello.reject);
    child.once('exit', (code) => hello.reject(new Error(`${options.name} ended with ${code}: ${lastLine}`)));
    const end = this.#within(startDeadlineMs, `${options.name} did not start in time`, hello.reject);
    try {
      return { pid: child.pid ?? 0, hello: await hello.promise, stop: () => stop(child) };
    } finally {
      end();
    }
  }

  /** Resolves with standard output when the program has ended well. */
  async output(options: ProgramOptions): Promise<string> {
    const child = this.#spawn(options);
    const ended = Promise.withResolvers<string>();
    let text = '';
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    child.once('error', ended.reject);
    child.once('close', (code) => {
      if (code === 0) ended.resolve(text);
      else ended.reject(new Error(`${options.name} ended with ${code}`));
    });
    const end = this.#within(outputDeadlineMs, `${options.name} did not end in time`, ended.reject);
    try {
      return await ended.promise;
    } finally {
      end();
    }
  }

  /** Ends what runs, the last one started first: what others need came before them. */
  async close(): Promise<void> {
    for (const child of [...this.#children].toReversed()) await stop(child);
  }

  #spawn({ command = process.execPath, args, cwd = '.', cores }: ProgramOptions): ChildProcess {
    this.#signal.throwIfAborted();
    const argv = [...(cores === undefined ? [] : ['taskset', '-c', cores]), command, ...args.map(pathOf)];
    const child = spawn(argv[0] ?? '', argv.slice(1), {
      cwd: resolve(root, cwd),
      // They end when this process is gone: ours and Node's by the channel, Go's by standard input.
      stdio: ['pipe', 'pipe', 'inherit', 'ipc'],
      // Ctrl-C reaches this process alone, which ends them in order.
      detached: true,
    });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }

  /** @returns what calls the deadline and the interruption off. */
  #within(deadlineMs: number, what: string, reject: (error: unknown) => void): () => void {
    const abort = (): void => reject(this.#signal.reason);
    const timer = setTimeout(() => reject(new Error(what)), deadlineMs);
    this.#signal.addEventListener('abort', abort, { once: true });
    return () => {
      clearTimeout(timer);
      this.#signal.removeEventListener('abort', abort);
    };
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopDeadlineMs);
  await exited;
  clearTimeout(timer);
}

function pathOf(arg: string | URL): string {
  return typeof arg === 'string' ? arg : fileURLToPath(arg);
}

function parse(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
