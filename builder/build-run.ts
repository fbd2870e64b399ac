/** One build from its archive to a digest: unpack, build, push; then everything of it is taken away again. */
import { mkdir, realpath, rm, statfs } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import { join, sep } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { createMask } from '../shared/mask.ts';
import type { BuildEvent, BuildFailure, BuildMeta } from '../shared/protocol/builder-wire.ts';
import type { Clock } from '../shared/wait/clock.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import type { SourceLimits } from '../shared/source/limits.ts';
import { unpackTree } from '../shared/source/unpack.ts';
import type { RunFolders, Tool } from './tool.ts';
import { runTool, type ProcessCall } from './tool-process.ts';
import { verdictOf } from './verdict.ts';

export interface BuildRunDeps {
  readonly tool: Tool;
  /** See sandbox.ts. */
  readonly prefix: readonly string[];
  /** Folder of the storage of slots. */
  readonly storage: string;
  /** Folder of what their programs keep while they run; a short path. */
  readonly runroots: string;
  readonly limits: SourceLimits;
  readonly timeoutMs: number;
  /** With less than this free, the storage of the slot is emptied after the build. */
  readonly minFreeBytes: number;
  readonly clock: Clock;
  /** Aborted when everything has to end at once. */
  readonly killed: AbortSignal;
  readonly log: Log;
}

export interface BuildJob {
  readonly meta: BuildMeta;
  /** Of this build alone, with `archive` in it; removed at the end by whoever made it. */
  readonly folder: string;
  readonly archive: string;
  readonly slot: number;
  readonly signal: AbortSignal;
  /** Awaited: a slow client slows its build. */
  readonly tell: (event: BuildEvent) => Promise<void>;
}

type Outcome = Extract<BuildEvent, { readonly digest: string } | { readonly error: BuildFailure }>;

const keptLines = 200;
const maxToldBytes = 32 * 1024 * 1024;
const tidyTimeoutMs = 60_000;

/** @returns what ends the answer to the client. @throws the signal's reason, once nothing runs any more. */
export async function runBuild(deps: BuildRunDeps, job: BuildJob): Promise<Outcome> {
  const { tool, limits, timeoutMs, clock, log } = deps;
  const { meta, signal } = job;
  const mask = createMask(Object.values(meta.secretArgs));
  const folders: RunFolders = {
    context: join(job.folder, 'context'),
    scratch: join(job.folder, 'scratch'),
    runroot: join(deps.runroots, `r${String(job.slot)}`),
    storage: join(deps.storage, `slot-${String(job.slot)}`),
  };
  const late = new AbortController();
  const takeBack = clock.after(timeoutMs, () => {
    late.abort(new AppError('build_timeout', `the build did not end within ${String(timeoutMs / 1_000)} s`));
  });
  const either = AbortSignal.any([signal, late.signal]);
  const output = createOutput(job.tell, mask);
  let isDone = false;
  try {
    await mkdir(folders.scratch);
    await rm(folders.runroot, { recursive: true, force: true });
    await mkdir(folders.storage, { recursive: true });
    const input = createReadStream(job.archive);
    await unpackTree({ input, gzip: true, target: folders.context, limits, signal: either });
    await rm(job.archive);
    await checkDockerfile(folders.context, meta.dockerfile);
    await job.tell({ phase: 'building' });
    for (const stage of ['build', 'push'] as const) {
      if (stage === 'push') await job.tell({ phase: 'pushing' });
      const { exitCode } = await runTool(deps, tool[stage](meta, folders), { signal: either, onLine: output.take });
      if (exitCode === 0) continue;
      const verdict = verdictOf({ stage, image: meta.image, exitCode, lines: output.lastLines() });
      return { error: { ...verdict, message: mask(verdict.message) } };
    }
    const digest = await tool.digest(folders, output.lastLines());
    if (digest === undefined || !/^sha256:[0-9a-f]{64}$/.test(digest)) {
      return { error: { code: 'builder_unavailable', message: `${tool.name} did not tell what it has pushed` } };
    }
    isDone = true;
    return { digest };
  } catch (error) {
    signal.throwIfAborted();
    return {
      error: { ...failureOf(late.signal.aborted ? late.signal.reason : error), logs: output.lastLines().slice(-50) },
    };
  } finally {
    takeBack();
    await tidy(deps, job, folders, isDone).catch((error: unknown) => {
      log.warn({ err: error, tag: meta.tag }, 'what a build has left could not be taken away');
    });
  }
}

/** Symlinks in the context stay inside it; this one has to be a file there. */
async function checkDockerfile(context: string, dockerfile: string): Promise<void> {
  const found = await realpath(join(context, dockerfile)).catch(() => undefined);
  if (found === undefined || !found.startsWith((await realpath(context)) + sep)) {
    throw new AppError('dockerfile_invalid', `the context has no ${dockerfile}`);
  }
}

/** What of our own errors is the client's matter; the rest is ours. */
const ownCodes = ['build_timeout', 'source_invalid', 'dockerfile_invalid', 'builder_unavailable'] as const;

function failureOf(thrown: unknown): BuildFailure {
  const { code, message } = toAppError(thrown);
  const own = ownCodes.find((one) => one === code);
  if (own !== undefined) return { code: own, message };
  return { code: 'builder_unavailable', message: `the builder failed: ${message}` };
}

interface Output {
  readonly take: (line: string) => Promise<void>;
  lastLines(): readonly string[];
}

/** Tells each line, up to a bound in all; keeps the last ones for the verdict. */
function createOutput(tell: BuildJob['tell'], mask: (text: string) => string): Output {
  const kept: string[] = [];
  let bytes = 0;
  return {
    async take(raw) {
      const line = mask(stripVTControlCharacters(raw));
      kept.push(line);
      if (kept.length > keptLines) kept.shift();
      if (bytes > maxToldBytes) return;
      bytes += line.length;
      await tell({ line: bytes > maxToldBytes ? '… the output is too long: the rest of it is left out' : line });
    },
    lastLines: () => kept,
  };
}

async function tidy(deps: BuildRunDeps, job: BuildJob, folders: RunFolders, isDone: boolean): Promise<void> {
  const { tool, log } = deps;
  const run = async (call: ProcessCall): Promise<void> => {
    const lines: string[] = [];
    const { exitCode } = await runTool(deps, call, {
      signal: AbortSignal.any([AbortSignal.timeout(tidyTimeoutMs), deps.killed]),
      onLine: async (line) => void lines.splice(0, Math.max(0, lines.push(line) - 5)),
    });
    if (exitCode !== 0) log.warn({ tag: job.meta.tag, args: call.args, lines }, `${tool.name} could not tidy up`);
  };
  if (tool.prune === undefined) return await run(tool.tidy(job.meta, folders));
  if (!isDone) await run(tool.tidy(job.meta, folders));
  const { bavail, bsize } = await statfs(folders.storage);
  if (bavail * bsize < deps.minFreeBytes) await run(tool.prune(folders));
}
