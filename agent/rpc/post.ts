/**
 * One call by HTTP POST, for tools without WebSocket. The body is a JSON-RPC request, the answer its response; with
 * `Accept: application/x-ndjson` each streamed item is a line before it. A client that leaves cancels its call.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { MethodTable } from '../../shared/protocol/methods.ts';
import { sendProblem } from '../../shared/problem.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { decode, encodeError, encodeItem, encodeResult, type Message } from '../../shared/rpc/codec.ts';
import type { Dispatch } from '../../shared/rpc/dispatch.ts';
import type { RpcLimits } from '../../shared/rpc/limits.ts';
import type { Identity } from '../../shared/rpc/types.ts';
import { readBody } from './read-body.ts';

interface PostDeps<Remote extends MethodTable> {
  readonly dispatch: Dispatch<Remote>;
  readonly limits: Pick<RpcLimits, 'maxFrameBytes' | 'maxSendBufferBytes'>;
  readonly log: Log;
}

type ServePost = (request: IncomingMessage, response: ServerResponse, identity: Identity) => Promise<void>;

/** A client that has read nothing for so long holds a place for nothing. */
const stalledAfterMs = 60_000;

type Call = Message & { kind: 'request' };

/** Never rejects. */
export function createPost<Remote extends MethodTable>(deps: PostDeps<Remote>): ServePost {
  const { dispatch, limits, log } = deps;

  return async (request, response, identity) => {
    const unsupported = unsupportedMedia(request);
    if (unsupported !== undefined) {
      // 415 is more exact than the 400 of the code, RFC 9110 §15.5.16; §12.5.3 for the field.
      sendProblem(response, unsupported, { status: 415, headers: { 'Accept-Encoding': 'identity' } });
      return;
    }
    let body: string;
    try {
      const { maxFrameBytes } = limits;
      body = (await readBody(request, maxFrameBytes, `the body is over ${maxFrameBytes} bytes`)).toString('utf8');
    } catch (thrown) {
      // What is left of the body is not worth reading.
      if (!response.destroyed) sendProblem(response, toAppError(thrown), { headers: { Connection: 'close' } });
      return;
    }
    let call: Call;
    try {
      call = readCall(body);
    } catch (thrown) {
      const error = toAppError(thrown);
      if (!response.destroyed) answer(response, error.status, encodeError(null, error));
      return;
    }
    await serve(call, request, response, identity);
  };

  async function serve(
    call: Call,
    request: IncomingMessage,
    response: ServerResponse,
    identity: Identity,
  ): Promise<void> {
    const { id, method, params, deadlineMs } = call;
    const abort = new AbortController();
    const onClose = (): void => {
      abort.abort(new AppError('cancelled', 'the client left'));
    };
    response.once('close', onClose);
    const stopTimer =
      deadlineMs === undefined
        ? undefined
        : systemClock.after(deadlineMs, () => {
            const error = new AppError('deadline_exceeded', `${method}: not done within ${deadlineMs} ms`);
            abort.abort(error);
            end(response, error.status, encodeError(id, error));
          });
    const streams = acceptsNdjson(request);
    const emit = async (item: unknown): Promise<void> => {
      abort.signal.throwIfAborted();
      if (streams) await sendItem(response, encodeItem(id, item), limits.maxSendBufferBytes, abort.signal);
    };
    try {
      const context = { identity, signal: abort.signal, emit, peer: undefined };
      end(response, 200, encodeResult(id, await dispatch({ method, params, context })));
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'internal' && !abort.signal.aborted) {
        log.error({ err: thrown, method, caller: identity.name }, 'a handler failed');
      }
      end(response, error.status, encodeError(id, error));
    } finally {
      stopTimer?.();
      response.off('close', onClose);
    }
  }
}

function unsupportedMedia({ headers }: IncomingMessage): AppError | undefined {
  const type = (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json') return new AppError('invalid_request', 'Content-Type must be application/json');
  const encoding = (headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (encoding !== 'identity') return new AppError('invalid_request', 'Content-Encoding is not taken: send plain JSON');
  return undefined;
}

/** @throws AppError parse_error or invalid_request. */
function readCall(body: string): Call {
  const message = decode(body);
  if (message.kind === 'request') return message;
  if (message.kind === 'malformed') throw message.error;
  throw new AppError('invalid_request', 'by HTTP only requests are taken: a member `id` is needed');
}

/** RFC 9110 §12.5.1, as far as it matters here: the type is named, whatever its weight. */
function acceptsNdjson(request: IncomingMessage): boolean {
  return (request.headers.accept ?? '').toLowerCase().includes('application/x-ndjson');
}

/** Headers go out with the first item, so that a call which fails before has the status of its error. */
async function sendItem(
  response: ServerResponse,
  line: string,
  maxUnsentBytes: number,
  signal: AbortSignal,
): Promise<void> {
  if (response.writableEnded || response.destroyed) throw new AppError('cancelled', 'the client left');
  if (!response.headersSent) {
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store' });
  }
  if (response.writableLength > maxUnsentBytes) {
    response.destroy();
    throw new AppError('send_buffer_full', 'the client reads too slowly');
  }
  if (response.write(`${line}\n`)) return;
  await drained(response, signal);
  signal.throwIfAborted();
}

function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const stop = systemClock.after(stalledAfterMs, () => response.destroy());
    const end = (): void => {
      stop();
      response.off('drain', end);
      response.off('close', end);
      signal.removeEventListener('abort', end);
      resolve();
    };
    response.once('drain', end);
    response.once('close', end);
    signal.addEventListener('abort', end, { once: true });
  });
}

/** The last line of a stream, or the whole answer; nothing when it was already given or the client is gone. */
function end(response: ServerResponse, status: number, frame: string): void {
  if (response.writableEnded || response.destroyed) return;
  if (response.headersSent) response.end(`${frame}\n`);
  else answer(response, status, frame);
}

function answer(response: ServerResponse, status: number, frame: string): void {
  const body = `${frame}\n`;
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
  });
  response.end(body);
}
