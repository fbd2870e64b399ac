/**
 * One POST to a builder: the context on its way out, the events on their way in. node:http rather than undici: a refusal that comes
 * while the context is still being sent has to be read.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Agent as HttpAgent, request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import type { Readable } from 'node:stream';
import { getCACertificates } from 'node:tls';
import { onAbort } from '../../../shared/wait/abort.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { AppError } from '../../../shared/errors.ts';
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
  /** What is thrown when the limit is over. */
  readonly late: () => AppError;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface Exchange extends AsyncDisposable {
  /** To be read once. Ends with the answer; @throws AppError builder_unavailable and what `refusal` makes; the signal's reason. */
  events(): AsyncGenerator<BuildEvent>;
  /** The limit counts from now on. */
  beginAnew(): void;
}

export function openExchange(deps: ExchangeDeps): Exchange {
  const { token, meta, file, limitMs, late, clock, signal } = deps;
  const url = new URL(deps.url.replace(/\/+$/, '') + buildsPath);
  const boundary = `holdfast-${randomUUID()}`;
  const ended = new AbortController();
  const both = AbortSignal.any([signal, ended.signal]);
  const silence = createTimer(clock, silenceMs, () => {
    ended.abort(away(url, `it said and took nothing for ${String(silenceMs / 1_000)} s`));
  });
  const limit = createTimer(clock, limitMs, () => ended.abort(late()));

  const isSecure = url.protocol === 'https:';
  // One connection, and yet kept alive: a server that may close it after a refusal would cut off what reads the refusal.
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
  // Errors are told by the promise of the answer; one that comes later finds nobody else.
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
      const why = error instanceof Error ? error.message : String(error);
      throw new AppError('internal', `the context could not be packed: ${why}`, { phase: 'build', cause: error });
    }
    yield `\r\n--${boundary}--\r\n`;
  }

  /** @returns the answer, which may come while the body is still being sent: then no more of it is. */
  async function send(): Promise<IncomingMessage> {
    const answered = new AbortController();
    const answer = once(call, 'response').then(([response]) => {
      answered.abort();
      return response as IncomingMessage;
    });
    // Rejects also where nobody waits for it yet.
    answer.catch(() => answered.abort());
    for await (const chunk of body()) {
      if (answered.signal.aborted) return await answer;
      silence.beginAnew();
      if (!call.write(chunk)) await drained(call, answered.signal);
    }
    if (!answered.signal.aborted) call.end();
    return await answer;
  }

  return {
    async *events() {
      try {
        const response = await send();
        silence.beginAnew();
        if (response.statusCode !== 200) throw await refusal(url, response);
        for await (const line of textLines(response as AsyncIterable<Buffer>, maxEventBytes)) {
          silence.beginAnew();
          const event = eventIn(line);
          if (event === undefined) throw away(url, 'its answer is not one of a builder');
          yield event;
        }
      } catch (error) {
        both.throwIfAborted();
        if (error instanceof AppError) throw error;
        throw away(url, error instanceof Error ? messageOf(error) : String(error), error);
      }
    },
    beginAnew: () => limit.beginAnew(),
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

function eventIn(line: string): BuildEvent | undefined {
  try {
    return buildEvent.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

function away(url: URL, why: string, cause?: unknown): AppError {
  const message = `the builder ${url.host} could not be used: ${why}`;
  return new AppError('builder_unavailable', message, { phase: 'build', cause });
}

/** Errors of several addresses in one have no message of their own. */
function messageOf(error: Error): string {
  return error.message === '' && 'code' in error ? String(error.code) : error.message;
}

interface Timer {
  beginAnew(): void;
  close(): void;
}

function createTimer(clock: Clock, ms: number, task: () => void): Timer {
  let takeBack = clock.after(ms, task);
  return {
    beginAnew() {
      takeBack();
      takeBack = clock.after(ms, task);
    },
    close: () => takeBack(),
  };
}
