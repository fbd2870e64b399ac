/** Shows the progress of a transfer: on a terminal as one line that is overwritten, elsewhere as an occasional line. */
import type { Clock } from '../shared/wait/clock.ts';
import type { CliContext } from './context.ts';
import { mebibytes } from './text.ts';

const terminalPauseMs = 100;
const linePauseMs = 10_000;

/** @param verb `Packed` or `Sent`. */
export function transferProgress(verb: string, output: CliContext['stderr'], clock: Clock) {
  const isTerminal = output.isTTY === true;
  const pauseMs = isTerminal ? terminalPauseMs : linePauseMs;
  let shownAtMs = isTerminal ? -Infinity : clock.nowMs();
  let width = 0;
  return {
    update(doneBytes: number, totalBytes: number): void {
      const isLast = doneBytes >= totalBytes;
      if (!isLast && clock.nowMs() - shownAtMs < pauseMs) return;
      // Without a terminal, the result of the command shows that the transfer is done.
      if (isLast && !isTerminal) return;
      shownAtMs = clock.nowMs();
      const percent = Math.floor((doneBytes / Math.max(1, totalBytes)) * 100);
      const text = `${verb} ${mebibytes(doneBytes)} of ${mebibytes(totalBytes)} (${percent} %)`;
      output.write(isTerminal ? `\r${text.padEnd(width)}` : `${text}\n`);
      width = text.length;
    },
    /** Ends the line. */
    end(): void {
      if (isTerminal && width > 0) output.write('\n');
    },
  };
}
