/**
 * Starts a process that cannot outlive the agent, however the agent ends. `sh` leaves a guard in the process group and becomes the command
 * by `exec`, so that pid, exit code and signals are the command's own. The guard waits for the end of a pipe whose other end only the agent
 * holds: when the agent is killed, the kernel closes the pipe, and the guard kills the group. The same happens when the command itself ends,
 * so that what it started ends too. Costs 1.2 to 1.5 ms per start.
 */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';

// The second subshell ends at once, so that the guard is not a child of the command, which may wait for all its children.
const guardScript = `( ( trap '' HUP INT QUIT TERM; read -r _ <&3; kill -KILL 0 ) </dev/null >/dev/null 2>&1 & )
exec "$@" 3<&-`;

const shellName = /^[A-Za-z_][A-Za-z0-9_]*$/;

export type ChildExit =
  | { readonly kind: 'code'; readonly code: number }
  | { readonly kind: 'signal'; readonly signal: string }
  /** The process could not be started at all. */
  | { readonly kind: 'error'; readonly error: Error };

export interface GuardedProcess {
  /** The id of the process and of its group; undefined when it could not be started. */
  readonly pid: number | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when the process has ended; what it started may still run. Never rejects. */
  readonly exited: Promise<ChildExit>;
  /** Resolves when no process of the group is left and the output is read to its end. Never rejects. */
  readonly ended: Promise<void>;
  /** Sends the signal to every process of the group, unless they have ended. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
}

/** A process that left the group may keep the output open: it is read for at most this long then. */
const closeDeadlineMs = 2_000;

export function startGuarded(options: {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}): GuardedProcess {
  // `sh` drops variables whose names it cannot use itself; env(1) sets them again.
  const odd = Object.entries(options.env)
    .filter(([name]) => !shellName.test(name))
    .map(([name, value]) => `${name}=${value}`);
  const argv = odd.length === 0 ? options.argv : ['env', ...odd, ...options.argv];
  const child = spawn('/bin/sh', ['-c', guardScript, 'sh', ...argv], {
    cwd: options.cwd,
    env: options.env,
    // A session of its own: Ctrl-C in the terminal reaches only the agent, which then stops the apps in order.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const [, stdout, stderr, guard] = child.stdio as unknown as readonly [null, Readable, Readable, Socket];
  // The socket is read so that its end is noticed; an error is an end too.
  guard.resume().on('error', () => guard.destroy());

  let over = false;
  let stopping = false;
  const killed = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  child.once('close', () => closed.resolve());
  const outputClosed = Promise.all([stdout, stderr].map((stream) => finished(stream).catch(() => {})));
  const exited = new Promise<ChildExit>((resolve) => {
    child.once('error', (error) => resolve({ kind: 'error', error }));
    child.once('exit', (code, signal) =>
      resolve(code === null ? { kind: 'signal', signal: signal ?? 'unknown' } : { kind: 'code', code }),
    );
  });
  const ended = exited.then(async (exit) => {
    if (exit.kind !== 'error') {
      // A shell ends at once on SIGTERM; the server that it has started may still have calls to answer.
      if (stopping) await Promise.race([outputClosed, killed.promise]);
      guard.end();
      const timer = setTimeout(() => closed.resolve(), closeDeadlineMs);
      await closed.promise;
      clearTimeout(timer);
    }
    over = true;
    for (const stream of [stdout, stderr, guard]) stream.destroy();
  });
  return {
    pid: child.pid,
    stdout,
    stderr,
    exited,
    ended,
    kill(signal) {
      if (over || child.pid === undefined) return;
      stopping = true;
      if (signal === 'SIGKILL') killed.resolve();
      try {
        process.kill(-child.pid, signal);
      } catch (error) {
        // ESRCH: the group has just ended. EPERM: what macOS returns for a group of zombies.
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'ESRCH' && code !== 'EPERM') throw error;
      }
    },
  };
}
