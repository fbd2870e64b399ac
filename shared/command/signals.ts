/** Handles signals of a program run in a terminal: the first stops it cleanly, the second at once. */
import { exitCodes } from './exit-code.ts';

export interface ProgramSignals {
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP. The program should stop cleanly. */
  readonly interrupted: AbortSignal;
  /** Aborted by the second signal, just before the process exits. Listeners kill child processes here. */
  readonly killed: AbortSignal;
}

/** A signal within this time of the first counts as the same Ctrl-C: npm forwards what the terminal already sent to the process group. */
const sameSignalMs = 500;

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
