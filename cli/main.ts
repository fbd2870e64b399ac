/** The `holdfast` command: gives the commands their process, and turns signals into an orderly end. */
import { createInterface } from 'node:readline/promises';
import { connectAgent } from './agent-client.ts';
import type { CliContext } from './context.ts';
import { exitCodes } from './exit-code.ts';
import { runCli } from './run.ts';

const interrupt = new AbortController();
const kill = new AbortController();

/** npm passes on the signal that the terminal has sent to the whole group: within this time it is the same Ctrl-C. */
const sameSignalMs = 500;
let interruptedAtMs = 0;

function onSignal(): void {
  if (!interrupt.signal.aborted) {
    interruptedAtMs = performance.now();
    interrupt.abort();
    return;
  }
  if (performance.now() - interruptedAtMs < sameSignalMs) return;
  // Whoever has children ends them in this event; then nothing is waited for.
  kill.abort();
  process.exit(exitCodes.interrupted);
}
process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);
process.on('SIGHUP', onSignal);
// Whoever reads the output may stop early, as `head` does.
process.stdout.on('error', () => process.exit(exitCodes.ok));

const context: CliContext = {
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  interrupted: interrupt.signal,
  killed: kill.signal,
  async ask(question, signal) {
    if (!process.stdin.isTTY) return undefined;
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return await lines.question(question, { signal });
    } finally {
      lines.close();
    }
  },
  connect: connectAgent,
};

process.exitCode = await runCli(process.argv.slice(2), context);
