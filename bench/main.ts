/**
 * `npm run bench`: measures, and writes the tables of docs/benchmarks.md. `node bench/main.ts [forward|hold|slow|memory|routes|wake|build|storm …]
 * [--rounds N] [--seconds S] [--calls N] [--wakes N] [--routes N] [--minutes M] [--workers N] [--other FOLDER] [--print]`; `--print` leaves the file
 * alone, `--workers` adds a router of so many processes to `forward`, and `--other` the router of another checkout.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from './build.ts';
import { forward } from './forward.ts';
import { hold } from './hold.ts';
import { memory } from './memory.ts';
import { describeMachine } from './rig/machine.ts';
import { Processes } from './rig/processes.ts';
import type { Options, Question } from './rig/question.ts';
import { writeBlock } from './rig/table.ts';
import { routes } from './routes.ts';
import { slow } from './slow.ts';
import { storm } from './storm.ts';
import { wake } from './wake.ts';

const questions: Readonly<Record<string, Question>> = { forward, hold, slow, memory, routes, wake, build, storm };
/** Half an hour: only when it is named. */
const unasked: ReadonlySet<string> = new Set(['storm']);

async function ask(
  name: string,
  question: Question,
  options: Options,
  signal: AbortSignal,
): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const processes = new Processes(signal);
  const undo: (() => Promise<unknown>)[] = [];
  const machine = describeMachine();
  const command = ['node bench/main.ts', name, ...process.argv.slice(2).filter((arg) => !(arg in questions))].join(' ');
  try {
    const markdown = await question({
      options,
      processes,
      folder,
      signal,
      say: (line) => void process.stderr.write(`${line}\n`),
      after: (work) => void undo.push(work),
    });
    return markdown === undefined ? undefined : `\`${command}\`: ${machine}\n\n${markdown}`;
  } finally {
    for (const work of undo.toReversed()) {
      await work().catch((error: unknown) => process.stderr.write(`${name}, cleaning up: ${String(error)}\n`));
    }
    await processes.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function numberIn(text: string | undefined, name: string, fallback: number, [least, most]: [number, number]): number {
  const value = text === undefined ? fallback : Number(text);
  if (!(value >= least && value <= most)) throw new Error(`--${name} must be from ${least} to ${most}`);
  return value;
}

const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => interrupt.abort(new Error(`ended by ${name}`)));
}

try {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: text,
      seconds: text,
      calls: text,
      wakes: text,
      routes: text,
      minutes: text,
      workers: text,
      other: text,
      print: { type: 'boolean', default: false },
    },
  });
  const options: Options = {
    rounds: numberIn(values.rounds, 'rounds', 5, [1, 50]),
    seconds: numberIn(values.seconds, 'seconds', 5, [0.1, 60]),
    calls: numberIn(values.calls, 'calls', 5_000, [1, 10_000]),
    wakes: numberIn(values.wakes, 'wakes', 20, [1, 200]),
    routes: numberIn(values.routes, 'routes', 100_000, [100, 200_000]),
    minutes: numberIn(values.minutes, 'minutes', 30, [0.2, 60]),
    other: values.other,
    workers: numberIn(values.workers, 'workers', 1, [1, 64]),
  };
  const names = positionals.length === 0 ? Object.keys(questions).filter((name) => !unasked.has(name)) : positionals;
  const unknown = names.filter((name) => !(name in questions));
  if (unknown.length > 0)
    throw new Error(`no question ${unknown.join(', ')}; there are ${Object.keys(questions).join(', ')}`);
  for (const name of names) {
    const question = questions[name];
    const answer = question && (await ask(name, question, options, interrupt.signal));
    if (answer === undefined) continue;
    process.stdout.write(`\n## ${name}\n\n${answer}\n`);
    if (!values.print) await writeBlock(name, answer);
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = interrupt.signal.aborted ? 130 : 1;
}
// A connection of a peer that is kept alive somewhere must not keep the process.
process.exit();
