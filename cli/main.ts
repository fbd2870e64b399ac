/** Entry point of the `holdfast` command: connects the commands to the process and its signals. */
import { createInterface } from 'node:readline/promises';
import { connectAgent } from './agent-client.ts';
import type { CliContext } from './context.ts';
import { exitCodes } from '../shared/command/exit-code.ts';
import { watchSignals } from '../shared/command/signals.ts';
import { runCli } from './run.ts';

const { interrupted, killed } = watchSignals();
// The reader of the output may stop early, as `head` does.
process.stdout.on('error', () => process.exit(exitCodes.ok));

const context: CliContext = {
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  interrupted,
  killed,
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
