/** Signals of a program that people run in a terminal: the first ends it in order, the second at once. */
import { exitCodes } from './exit-code.ts';

export interface ProgramSignals {
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP: end in order. */
  readonly interrupted: AbortSignal;
  /** Aborted by the second, in the moment before the process exits: listeners end child processes here. */
  readonly killed: AbortSignal;
}

/** npm forwards the signal that the terminal has already sent to the whole process group: within this time it is the same Ctrl-C. */
const sameSignalMs = 500;

/** Installs the handlers of this process. */
export function watchSignals(): ProgramSignals {
  const interrupt = new AbortController();
  const kill = new AbortController();
  let interruptedAtMs = 0;

  function onSignal(): void {
    if (!interrupt.signal.aborted) {
      interruptedAtMs = performance.now();
      interrupt.abort();
      return;
    }
    if (performance.now() - interruptedAtMs < sameSignalMs) return;
    kill.abort();
    process.exit(exitCodes.interrupted);
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  return { interrupted: interrupt.signal, killed: kill.signal };
}
