/** Runs one build: unpacks its archive, builds, pushes, and cleans up. */
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
  /** What programs are started with; see sandbox.ts. */
  readonly prefix: readonly string[];
  /** Folder with the storage of each slot. */
  readonly storage: string;
  /** Folder for what programs keep while they run; a short path. */
  readonly runroots: string;
  readonly limits: SourceLimits;
  readonly timeoutMs: number;
  /** If less than this is free on the disk after a build, the storage of its slot is emptied. */
  readonly minFreeBytes: number;
  readonly clock: Clock;
  /** Aborted when the process is about to exit and all programs have to end at once. */
  readonly killed: AbortSignal;
  readonly log: Log;
}

export interface BuildJob {
  readonly meta: BuildMeta;
  /** A folder for this build alone, with `archive` in it. The caller removes it. */
  readonly folder: string;
  readonly archive: string;
  readonly slot: number;
  readonly signal: AbortSignal;
  /** Sends an event to the client. It is awaited, so that a slow client slows down its build. */
  readonly send: (event: BuildEvent) => Promise<void>;
}

type Outcome = Extract<BuildEvent, { readonly digest: string } | { readonly error: BuildFailure }>;

const keptLines = 200;
const maxSentBytes = 32 * 1024 * 1024;
const cleanUpTimeoutMs = 60_000;

/** @returns the last event for the client. @throws the signal's reason, once all programs have ended. */
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
  const stopTimer = clock.after(timeoutMs, () => {
    late.abort(new AppError('build_timeout', `the build did not end within ${String(timeoutMs / 1_000)} s`));
  });
  const either = AbortSignal.any([signal, late.signal]);
  const output = createOutput(job.send, mask);
  let isDone = false;
  try {
    await mkdir(folders.scratch);
    await rm(folders.runroot, { recursive: true, force: true });
    await mkdir(folders.storage, { recursive: true });
    const input = createReadStream(job.archive);
    await unpackTree({ input, gzip: true, target: folders.context, limits, signal: either });
    await rm(job.archive);
    await checkDockerfile(folders.context, meta.dockerfile);
    await job.send({ phase: 'building' });
    for (const stage of ['build', 'push'] as const) {
      if (stage === 'push') await job.send({ phase: 'pushing' });
      const { exitCode } = await runTool(deps, tool[stage](meta, folders), {
        signal: either,
        onLine: (line) => output.take(line),
      });
      if (exitCode === 0) continue;
      const verdict = verdictOf({ stage, image: meta.image, exitCode, lines: output.lastLines() });
      return { error: { ...verdict, message: mask(verdict.message) } };
    }
    const digest = await tool.digest(folders, output.lastLines());
    if (digest === undefined || !/^sha256:[0-9a-f]{64}$/.test(digest)) {
      return {
        error: { code: 'builder_unavailable', message: `${tool.name} did not report the digest that it has pushed` },
      };
    }
    isDone = true;
    return { digest };
  } catch (error) {
    signal.throwIfAborted();
    return {
      error: { ...failureOf(late.signal.aborted ? late.signal.reason : error), logs: output.lastLines().slice(-50) },
    };
  } finally {
    stopTimer();
    await cleanUp(deps, job, folders, isDone).catch((error: unknown) => {
      log.warn({ err: error, tag: meta.tag }, 'could not clean up after a build');
    });
  }
}

/** @throws AppError dockerfile_invalid unless the path, with symbolic links followed, is inside the context. */
async function checkDockerfile(context: string, dockerfile: string): Promise<void> {
  const found = await realpath(join(context, dockerfile)).catch(() => undefined);
  if (found === undefined || !found.startsWith((await realpath(context)) + sep)) {
    throw new AppError('dockerfile_invalid', `the context has no ${dockerfile}`);
  }
}

/** Errors of the builder that concern the client; all others are internal. */
const ownCodes = ['build_timeout', 'source_invalid', 'dockerfile_invalid', 'builder_unavailable'] as const;

function failureOf(thrown: unknown): BuildFailure {
  const { code, message } = toAppError(thrown);
  const own = ownCodes.find((one) => one === code);
  if (own !== undefined) return { code: own, message };
  return { code: 'builder_unavailable', message: `the builder failed: ${message}` };
}

/** Sends each line of the output, up to a bound in all, and keeps the last lines for the verdict. */
function createOutput(send: BuildJob['send'], mask: (text: string) => string) {
  const kept: string[] = [];
  let bytes = 0;
  return {
    async take(raw: string): Promise<void> {
      const line = mask(stripVTControlCharacters(raw));
      kept.push(line);
      if (kept.length > keptLines) kept.shift();
      if (bytes > maxSentBytes) return;
      bytes += line.length;
      await send({ line: bytes > maxSentBytes ? '… the output is too long: the rest of it is left out' : line });
    },
    lastLines: () => kept,
  };
}

async function cleanUp(deps: BuildRunDeps, job: BuildJob, folders: RunFolders, isDone: boolean): Promise<void> {
  const { tool, log } = deps;
  const run = async (call: ProcessCall): Promise<void> => {
    const lines: string[] = [];
    const { exitCode } = await runTool(deps, call, {
      signal: AbortSignal.any([AbortSignal.timeout(cleanUpTimeoutMs), deps.killed]),
      onLine: async (line) => void lines.splice(0, Math.max(0, lines.push(line) - 5)),
    });
    if (exitCode !== 0) log.warn({ tag: job.meta.tag, args: call.args, lines }, `${tool.name} could not clean up`);
  };
  if (tool.prune === undefined) return await run(tool.cleanUp(job.meta, folders));
  if (!isDone) await run(tool.cleanUp(job.meta, folders));
  const { bavail, bsize } = await statfs(folders.storage);
  if (bavail * bsize < deps.minFreeBytes) await run(tool.prune(folders));
}
