/** The environment of a command. main.ts builds it from the process; tests build their own. */
import type { Environment } from '../shared/config/environment.ts';
import type { ConnectAgent } from './agent-client.ts';

interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
}

export interface CliContext {
  readonly env: Environment;
  /** The working directory, as an absolute path. */
  readonly cwd: string;
  /** Receives results only. */
  readonly stdout: Output;
  /** Receives progress, questions and errors. */
  readonly stderr: Output;
  /** Aborted by the first Ctrl-C or SIGTERM. The command should stop cleanly. */
  readonly interrupted: AbortSignal;
  /** Aborted by the second Ctrl-C or SIGTERM. The command must stop at once. */
  readonly killed: AbortSignal;
  /** Asks the user for a line. Resolves to undefined if standard input is not a terminal. */
  readonly ask: (question: string, signal: AbortSignal) => Promise<string | undefined>;
  readonly connect: ConnectAgent;
}
