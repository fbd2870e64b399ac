/** What commands get from the process they run in; main.ts makes it, tests make another. */
import type { Environment } from '../shared/config/environment.ts';
import type { ConnectAgent } from './agent-client.ts';

interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
}

export interface CliContext {
  readonly env: Environment;
  /** Absolute. */
  readonly cwd: string;
  /** Results only. */
  readonly stdout: Output;
  /** Progress, questions and errors. */
  readonly stderr: Output;
  /** Aborted by the first Ctrl-C or SIGTERM: end in good order. */
  readonly interrupted: AbortSignal;
  /** Aborted by the second: end now. */
  readonly killed: AbortSignal;
  /** A line typed by the user, undefined where there is nobody to ask. */
  readonly ask: (question: string, signal: AbortSignal) => Promise<string | undefined>;
  readonly connect: ConnectAgent;
}
