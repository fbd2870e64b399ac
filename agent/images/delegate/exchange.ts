/**
 * One request to a builder: sends the context, and reads the events of the answer. It uses node:http, because with undici a refusal
 * that comes while the context is still being sent cannot be read.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Agent as HttpAgent, request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import type { Readable } from 'node:stream';
import { getCACertificates } from 'node:tls';
import { onAbort } from '../../../shared/wait/abort.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { AppError, toAppError } from '../../../shared/errors.ts';
import { parseJson } from '../../../shared/json.ts';
import {
  buildEvent,
  buildsPath,
  filePart,
  maxEventBytes,
  metaPart,
  silenceMs,
  type BuildEvent,
  type BuildMeta,
} from '../../../shared/protocol/builder-wire.ts';
import { textLines } from '../../../shared/net/text-lines.ts';
import { refusal } from './refusal.ts';

export interface ExchangeDeps {
  readonly url: string;
  readonly token: string | undefined;
  readonly ca: string | undefined;
  readonly meta: BuildMeta;
  readonly file: Readable;
  readonly limitMs: number;
  /** Makes the error for when the limit is over. */
  readonly late: () => AppError;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface Exchange extends AsyncDisposable {
  /**
   * The events of the answer, to be read once.
   * @throws AppError builder_unavailable, or the one that `refusal` makes; the signal's reason.
   */
  events(): AsyncGenerator<BuildEvent>;
  /** Counts `limitMs` from now on. */
  restartLimit(): void;
}

export function openExchange(deps: ExchangeDeps): Exchange {
  const { token, meta, file, limitMs, late, clock, signal } = deps;
  const url = new URL(deps.url.replace(/\/+$/, '') + buildsPath);
  const boundary = `holdfast-${randomUUID()}`;
  const ended = new AbortController();
  const both = AbortSignal.any([signal, ended.signal]);
  const silence = createTimer(clock, silenceMs, () => {
    ended.abort(away(url, `it sent and read nothing for ${String(silenceMs / 1_000)} s`));
  });
  const limit = createTimer(clock, limitMs, () => ended.abort(late()));

  const isSecure = url.protocol === 'https:';
  // Keep-alive, though for one request: a server that may close the connection after a refusal can cut the refusal off.
  const agent = new (isSecure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 1 });
  const call = (isSecure ? requestHttps : requestHttp)(url, {
    method: 'POST',
    agent,
    headers: {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      accept: 'application/x-ndjson',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(deps.ca === undefined ? {} : { ca: [...getCACertificates('default'), deps.ca] }),
  });
  // The promise of the answer reports errors. A later one must not be an unhandled 'error' event.
  call.on('error', () => undefined);
  const listener = onAbort(both, () => void call.destroy());
  file.on('error', () => undefined);

  async function* body(): AsyncGenerator<Buffer | string> {
    yield part(boundary, metaPart, 'application/json');
    yield `${JSON.stringify(meta)}\r\n`;
    yield part(boundary, filePart, 'application/gzip', 'context.tar.gz');
    try {
      for await (const chunk of file) yield chunk as Buffer;
    } catch (error) {
      if (error instanceof AppError) throw error;
      throw new AppError('internal', `could not pack the build context: ${toAppError(error).message}`, {
        phase: 'build',
        cause: error,
      });
    }
    yield `\r\n--${boundary}--\r\n`;
  }

  /** Sends the body, or as much of it as it takes until the answer comes. @returns the answer. */
  async function send(): Promise<IncomingMessage> {
    const answered = new AbortController();
    const answer = once(call, 'response').then(([response]) => {
      answered.abort();
      return response as IncomingMessage;
    });
    // It may reject before anyone waits for it.
    answer.catch(() => answered.abort());
    for await (const chunk of body()) {
      if (answered.signal.aborted) return await answer;
      silence.restart();
      if (!call.write(chunk)) await drained(call, answered.signal);
    }
    if (!answered.signal.aborted) call.end();
    return await answer;
  }

  return {
    async *events() {
      try {
        const response = await send();
        silence.restart();
        if (response.statusCode !== 200) throw await refusal(url, response);
        for await (const line of textLines(response as AsyncIterable<Buffer>, maxEventBytes)) {
          silence.restart();
          const event = buildEvent.safeParse(parseJson(line)).data;
          if (event === undefined) throw away(url, 'its answer is not that of a builder');
          yield event;
        }
      } catch (error) {
        both.throwIfAborted();
        if (error instanceof AppError) throw error;
        throw away(url, error instanceof Error ? messageOf(error) : String(error), error);
      }
    },
    restartLimit: () => limit.restart(),
    [Symbol.asyncDispose]() {
      silence.close();
      limit.close();
      listener[Symbol.dispose]();
      file.destroy();
      call.destroy();
      agent.destroy();
      return Promise.resolve();
    },
  };
}

function part(boundary: string, name: string, type: string, filename?: string): string {
  const named = filename === undefined ? '' : `; filename="${filename}"`;
  return `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${named}\r\nContent-Type: ${type}\r\n\r\n`;
}

async function drained(call: ClientRequest, answered: AbortSignal): Promise<void> {
  try {
    await once(call, 'drain', { signal: answered });
  } catch (error) {
    if (!answered.aborted) throw error;
  }
}

function away(url: URL, why: string, cause?: unknown): AppError {
  const message = `could not use the builder ${url.host}: ${why}`;
  return new AppError('builder_unavailable', message, { phase: 'build', cause });
}

/** An error that joins those of several addresses has no message of its own. */
function messageOf(error: Error): string {
  return error.message === '' && 'code' in error ? String(error.code) : error.message;
}

interface Timer {
  restart(): void;
  close(): void;
}

function createTimer(clock: Clock, ms: number, task: () => void): Timer {
  let stop = clock.after(ms, task);
  return {
    restart() {
      stop();
      stop = clock.after(ms, task);
    },
    close: () => stop(),
  };
}
