/**
 * The init container of a build pod: fetches the build context from the leading agent by a one-time token, and unpacks it. While
 * the agent cannot be reached, or does not lead yet, it tries again. Its termination message says why it failed.
 *
 * Exit codes: 1 the agent could not be reached, or the transfer broke off; 2 the context is invalid; 3 the token is used up or unknown.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { get as httpsGet } from 'node:https';
import { dirname } from 'node:path';
import { systemClock } from '../../shared/wait/clock.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import { retry } from '../../shared/wait/retry.ts';
import { defaultSourceLimits } from '../../shared/source/limits.ts';
import { unpackTree } from '../../shared/source/unpack.ts';

/** Time until the agent has to answer; the transfer may take longer. */
const reachMs = 120_000;
const headMs = 15_000;
/** A transfer that makes no progress for this long has broken off. */
const stallMs = 60_000;
const maxRetryAfterMs = 5_000;
const presetBytes = 1024 * 1024;
const presetFiles = 32;

class FetchFailure extends Error {
  override readonly name = 'FetchFailure';
  /** The exit code of a failure that will not pass; undefined for one that may. */
  readonly exitCode: 2 | 3 | undefined;
  readonly retryAfterMs: number;

  constructor(message: string, exitCode?: 2 | 3, retryAfterMs = 0) {
    super(message);
    this.exitCode = exitCode;
    this.retryAfterMs = retryAfterMs;
  }
}

interface Options {
  readonly url: string;
  readonly token: string;
  readonly folder: string;
  readonly maxBytes: number;
  readonly maxFiles: number;
}

async function run(options: Options, signal: AbortSignal): Promise<void> {
  await retry(() => fetchOnce(options, signal), {
    clock: systemClock,
    signal,
    backoff: { minMs: 200, maxMs: 2_000 },
    deadlineMs: reachMs,
    isPassing: (error) => error instanceof FetchFailure && error.exitCode === undefined,
    retryAfterMs: (error) => (error instanceof FetchFailure ? error.retryAfterMs : undefined),
    onRetry: ({ error }) => process.stderr.write(`${messageOf(error)}; tries again\n`),
  });
}

async function fetchOnce(options: Options, signal: AbortSignal): Promise<void> {
  const response = await answerOf(options, signal);
  const status = response.statusCode ?? 0;
  if (status !== 200) {
    response.destroy();
    throw refusal(status, response.headers['retry-after']);
  }
  const { folder, maxBytes, maxFiles } = options;
  await rm(folder, { recursive: true, force: true });
  await mkdir(dirname(folder), { recursive: true });
  // The agent has checked the bounds of the tree; files of a preset come on top.
  const limits = { ...defaultSourceLimits, maxBytes: maxBytes + presetBytes, maxFiles: maxFiles + presetFiles };
  try {
    const { files, bytes } = await unpackTree({ input: response, gzip: true, target: folder, limits, signal });
    process.stdout.write(`the build context is here: ${String(files)} files, ${String(bytes)} bytes\n`);
  } catch (error) {
    // A broken transfer looks like a broken archive: only one that came whole can be refused.
    const refused = error instanceof AppError && error.code === 'source_invalid' && response.complete;
    throw new FetchFailure(`the build context: ${messageOf(error)}`, refused ? 2 : undefined);
  } finally {
    response.destroy();
  }
}

async function answerOf({ url, token }: Options, signal: AbortSignal): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const get = url.startsWith('https:') ? httpsGet : httpGet;
  // `http.get` follows no redirects, so the token goes to this agent only.
  const request = get(`${url}/${token}`, { signal, headers: { accept: 'application/gzip' } }, resolve);
  request.setTimeout(headMs, () => request.destroy(new Error(`no answer within ${String(headMs / 1_000)} s`)));
  request.on('error', reject);
  try {
    const response = await promise;
    response.setTimeout(stallMs, () => response.destroy(new Error('the transfer makes no progress')));
    return response;
  } catch (error) {
    throw new FetchFailure(`the agent cannot be reached at ${new URL(url).origin}: ${messageOf(error)}`);
  }
}

function refusal(status: number, retryAfter: string | undefined): FetchFailure {
  if (status === 404 || status === 410) {
    return new FetchFailure('the agent does not know this build, or its context was fetched already', 3);
  }
  const waitMs = Math.min(maxRetryAfterMs, Number(retryAfter ?? 0) * 1_000 || 0);
  return new FetchFailure(`the agent answers with status ${String(status)}`, undefined, waitMs);
}

function messageOf(error: unknown): string {
  return toAppError(error).message;
}

function optionsOf(env: NodeJS.ProcessEnv): Options {
  const value = (key: string): string => {
    const found = env[`HOLDFAST_CONTEXT_${key}`];
    if (found === undefined || found === '') throw new Error(`HOLDFAST_CONTEXT_${key} is not set`);
    return found;
  };
  return {
    url: value('URL'),
    token: value('TOKEN'),
    folder: value('FOLDER'),
    maxBytes: Number(value('MAX_BYTES')),
    maxFiles: Number(value('MAX_FILES')),
  };
}

const stop = new AbortController();
// The kernel does not end process 1 by a signal that it does not handle.
process.on('SIGTERM', () => stop.abort(new Error('ended by SIGTERM')));
try {
  await run(optionsOf(process.env), stop.signal);
} catch (error) {
  const message = messageOf(error);
  process.stderr.write(`${message}\n`);
  await writeFile(process.env['HOLDFAST_CONTEXT_TERMINATION_LOG'] ?? '/dev/termination-log', message).catch(
    () => undefined,
  );
  process.exitCode = (error instanceof FetchFailure ? error.exitCode : undefined) ?? 1;
}
