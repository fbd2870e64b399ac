/**
 * Sends an archive to the agent in parts. Only missing parts are sent: what this run or an earlier one has sent before
 * an interruption is not sent again.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { request } from 'undici';
import { retry } from '../shared/wait/retry.ts';
import type { Clock } from '../shared/wait/clock.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import type { AgentMethods, ParamsInputOf, ResultOf } from '../shared/protocol/methods.ts';
import { rpcPath } from '../shared/protocol/methods.ts';
import { endpointUrl } from '../shared/rpc/endpoint-url.ts';
import { refusal } from '../shared/rpc/dial.ts';
import type { AgentEndpoint } from './endpoint.ts';

type SourceMethod = 'sources.begin' | 'sources.complete';

export interface UploadOptions {
  readonly endpoint: AgentEndpoint;
  readonly call: <K extends SourceMethod>(
    method: K,
    params: ParamsInputOf<AgentMethods[K]>,
    deadlineMs: number,
  ) => Promise<ResultOf<AgentMethods[K]>>;
  /** The path of the archive. */
  readonly file: string;
  /** The SHA-256 of the archive in hex. */
  readonly archive: string;
  readonly bytes: number;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** @param sentBytes how many of the archive's `bytes` the agent has. */
  readonly onProgress: (sentBytes: number) => void;
  /** Called when a part is sent again. */
  readonly onRetry: (error: AppError) => void;
}

export interface Uploaded {
  /** The source of the app: `upload:sha256:<digest>`. */
  readonly source: string;
  /** The number of bytes that this run has sent. */
  readonly sentBytes: number;
}

const parallelParts = 4;
/** Including the pauses in between, the attempts last longer than it takes another agent to become leader. */
const partAttempts = 12;
const partTimeoutMs = 60_000;
const completeDeadlineMs = 300_000;
/** The agent may report missing parts again if another run of the same command has ended in the meantime. */
const maxRounds = 3;

/** @throws AppError of the agent, or link_lost, saying what has been sent and what to do; the signal's reason. */
export async function uploadArchive(options: UploadOptions): Promise<Uploaded> {
  const { call, archive, bytes, file, signal } = options;
  const handle = await open(file, 'r');
  let sentBytes = 0;
  try {
    for (let round = 1; ; round += 1) {
      const begun = await call('sources.begin', { archive, bytes }, completeDeadlineMs);
      if (begun.source !== null) return { source: begun.source, sentBytes };
      try {
        sentBytes += await sendParts(options, handle, begun);
        const { source } = await call('sources.complete', { archive }, completeDeadlineMs);
        return { source, sentBytes };
      } catch (error) {
        if (toAppError(error).code !== 'upload_incomplete' || round >= maxRounds || signal.aborted) throw error;
      }
    }
  } finally {
    await handle.close();
  }
}

/** @returns the number of bytes that were sent. */
async function sendParts(
  options: UploadOptions,
  handle: FileHandle,
  { partBytes, missing }: { readonly partBytes: number; readonly missing: readonly number[] },
): Promise<number> {
  const { bytes } = options;
  const sizeOf = (part: number): number => Math.max(0, Math.min(partBytes, bytes - part * partBytes));
  const totalBytes = missing.reduce((sum, part) => sum + sizeOf(part), 0);
  let thereBytes = bytes - totalBytes;
  let next = 0;
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  options.onProgress(thereBytes);

  async function work(): Promise<void> {
    for (let part = missing[next++]; part !== undefined && !signal.aborted; part = missing[next++]) {
      const size = sizeOf(part);
      const body = Buffer.allocUnsafe(size);
      const { bytesRead } = await handle.read(body, 0, size, part * partBytes);
      if (bytesRead !== size) throw new AppError('internal', 'the packed archive became shorter during the upload');
      await sendPart(options, part, body, signal);
      thereBytes += size;
      options.onProgress(thereBytes);
    }
  }

  const results = await Promise.allSettled(
    Array.from({ length: Math.min(parallelParts, missing.length) }, () =>
      work().catch((error: unknown) => {
        // Stop the other workers too, so that nothing continues after a failure.
        failed.abort(error);
        throw error;
      }),
    ),
  );
  options.signal.throwIfAborted();
  if (failed.signal.aborted || results.some(({ status }) => status === 'rejected')) {
    throw withAdvice(toAppError(failed.signal.reason), thereBytes, bytes);
  }
  return totalBytes;
}

async function sendPart(options: UploadOptions, part: number, body: Buffer, signal: AbortSignal): Promise<void> {
  await retry(() => putPart(options, part, body, signal), {
    clock: options.clock,
    signal,
    backoff: { minMs: 200, maxMs: 5_000 },
    attempts: partAttempts,
    isPassing: (error) => toAppError(error).retryable && toAppError(error).code !== 'upload_incomplete',
    onRetry: ({ error }) => options.onRetry(toAppError(error)),
  });
}

async function putPart(
  { endpoint, archive }: UploadOptions,
  part: number,
  body: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const base = endpointUrl(endpoint.url, 'http').slice(0, -rpcPath.length);
  const timeout = AbortSignal.timeout(partTimeoutMs);
  try {
    const response = await request(`${base}/sources/${archive}/${part}`, {
      method: 'PUT',
      headers: {
        authorization: `Bearer ${endpoint.token}`,
        'content-type': 'application/octet-stream',
        'content-length': String(body.length),
      },
      body,
      signal: AbortSignal.any([signal, timeout]),
    });
    const text = await response.body.text();
    if (response.statusCode >= 300) throw refusal(response.statusCode, text);
  } catch (error) {
    if (error instanceof AppError) throw error;
    const what = timeout.aborted ? `no answer within ${partTimeoutMs / 1_000} s` : toAppError(error).message;
    throw new AppError('link_lost', what, { cause: error });
  }
}

/** Adds the advice that running the command again resumes the upload. */
function withAdvice(error: AppError, thereBytes: number, bytes: number): AppError {
  if (!error.retryable) return error;
  const percent = Math.floor((thereBytes / Math.max(1, bytes)) * 100);
  return new AppError(
    error.code,
    `the upload stopped at ${percent} % (${error.message}); run the same command again to send only the missing parts`,
    { cause: error },
  );
}
