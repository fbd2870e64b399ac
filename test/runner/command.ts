/** Runs programs for the test runner. Each ends when the runner does. */
import { spawn } from 'node:child_process';

export interface CommandOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Ends the program: SIGTERM, then SIGKILL after a while. */
  readonly signal?: AbortSignal;
  /** Gives it a process group of its own, so that Ctrl-C does not reach it: for programs that clean up. */
  readonly detached?: boolean;
  /** Receives standard output as it arrives. By default it goes to the runner's own. */
  readonly onOutput?: (text: string) => void;
  readonly uid?: number;
  readonly gid?: number;
}

/** Time between SIGTERM and SIGKILL. */
const graceMs = 20_000;

/** @returns the exit code, or 128 when a signal ended it. @throws when it cannot be started. */
export async function run(command: string, args: readonly string[], options: CommandOptions): Promise<number> {
  const { env, signal, detached = false, onOutput, uid, gid } = options;
  signal?.throwIfAborted();
  const child = spawn(command, args, {
    env,
    detached,
    stdio: ['ignore', onOutput === undefined ? 'inherit' : 'pipe', 'inherit'],
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  });
  let killer: NodeJS.Timeout | undefined;
  const end = (): void => {
    child.kill('SIGTERM');
    killer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  };
  signal?.addEventListener('abort', end, { once: true });
  child.stdout?.setEncoding('utf8').on('data', (text: string) => onOutput?.(text));
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code ?? 128));
    });
  } finally {
    signal?.removeEventListener('abort', end);
    clearTimeout(killer);
  }
}

/** @returns standard output. @throws when the program fails. */
export async function output(command: string, args: readonly string[], options: CommandOptions): Promise<string> {
  let text = '';
  const code = await run(command, args, { ...options, onOutput: (more) => (text += more) });
  if (code !== 0) throw new Error(`${[command, ...args].join(' ')} ended with ${code}`);
  return text.trim();
}
