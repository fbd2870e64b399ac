/**
 * One call by HTTP POST, for tools without WebSocket. The request body is a JSON-RPC request, the answer is its response. With
 * `Accept: application/x-ndjson` each streamed item is a line before the response. A client that leaves cancels its call.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { readBoundedText } from '../../shared/net/read-bounded.ts';
import type { MethodTable } from '../../shared/protocol/methods.ts';
import { sendProblem } from '../../shared/problem.ts';
import { deadlineSignal, onAbort } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { decode, encodeError, encodeItem, encodeResult, type Message } from '../../shared/rpc/codec.ts';
import type { Dispatch } from '../../shared/rpc/dispatch.ts';
import type { RpcLimits } from '../../shared/rpc/limits.ts';
import type { Identity } from '../../shared/rpc/types.ts';
import type { Admit } from './admission.ts';
import type { BodyBudget, HeldBody } from './body-budget.ts';

interface PostDeps<Remote extends MethodTable> {
  readonly dispatch: Dispatch<Remote>;
  readonly admit: Admit;
  readonly limits: Pick<RpcLimits, 'maxFrameBytes' | 'maxSendBufferBytes'>;
  readonly bodies: Pick<BodyBudget, 'open'>;
  readonly clock: Clock;
  readonly log: Log;
}

type ServePost = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** A client that reads nothing for this long is stalled, and its connection is closed. */
const stalledAfterMs = 60_000;

type Call = Message & { kind: 'request' };

interface IncomingCall extends Call {
  /** The client takes streamed items. */
  readonly streams: boolean;
}

/** Never rejects. */
export function createPost<Remote extends MethodTable>(deps: PostDeps<Remote>): ServePost {
  const { dispatch, admit, limits, bodies, clock, log } = deps;

  return async (request, response) => {
    let admission;
    try {
      admission = admit(request);
    } catch (thrown) {
      // The body is not read, so the connection cannot be reused.
      sendProblem(response, toAppError(thrown), { headers: { Connection: 'close' } });
      return;
    }
    try {
      // Counted until the call has ended, since its parameters are kept until then.
      using held = bodies.open(`token ${admission.identity.name}`);
      const call = await receive(request, response, held);
      if (call) await serve(call, response, admission.identity);
    } finally {
      admission.leave();
    }
  };

  /** @returns the call; undefined if the request was answered with an error. */
  async function receive(
    request: IncomingMessage,
    response: ServerResponse,
    held: HeldBody,
  ): Promise<IncomingCall | undefined> {
    const unsupported = unsupportedMedia(request);
    if (unsupported !== undefined) {
      // 415 is more exact than the 400 of the error code (RFC 9110 §15.5.16); §12.5.3 defines the field.
      sendProblem(response, unsupported, { status: 415, headers: { 'Accept-Encoding': 'identity' } });
      return undefined;
    }
    let body: string;
    try {
      const declaredBytes = Number(request.headers['content-length'] ?? 0);
      body = await readBoundedText(request, {
        maxBytes: limits.maxFrameBytes,
        what: 'the body',
        declaredBytes,
        onBytes: (bytes) => held.add(bytes),
      });
    } catch (thrown) {
      // The rest of the body is not worth reading.
      if (!response.destroyed) sendProblem(response, toAppError(thrown), { headers: { Connection: 'close' } });
      return undefined;
    }
    try {
      return { ...readCall(body), streams: acceptsNdjson(request) };
    } catch (thrown) {
      const error = toAppError(thrown);
      if (!response.destroyed) answer(response, error.status, encodeError(null, error));
      return undefined;
    }
  }

  async function serve(call: IncomingCall, response: ServerResponse, identity: Identity): Promise<void> {
    const { id, method, params, deadlineMs, streams } = call;
    const left = new AbortController();
    const onClose = (): void => left.abort(new AppError('cancelled', 'the client left'));
    response.once('close', onClose);
    using deadline =
      deadlineMs === undefined
        ? undefined
        : deadlineSignal({
            clock,
            ms: deadlineMs,
            signal: left.signal,
            reason: () => new AppError('deadline_exceeded', `${method}: not done within ${deadlineMs} ms`),
          });
    const signal = deadline?.signal ?? left.signal;
    // The client is answered at its deadline, even if the handler does not end.
    using _listener = onAbort(signal, () => {
      if (!deadline?.expired) return;
      const error = toAppError(signal.reason);
      end(response, error.status, encodeError(id, error));
    });
    const emit = async (item: unknown): Promise<void> => {
      signal.throwIfAborted();
      if (!streams) return;
      await sendItem({ response, clock, maxUnsentBytes: limits.maxSendBufferBytes, signal }, encodeItem(id, item));
    };
    try {
      const context = { identity, signal, emit, peer: undefined };
      end(response, 200, encodeResult(id, await dispatch({ method, params, context })));
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'internal' && !signal.aborted) {
        log.error({ err: thrown, method, caller: identity.name }, 'a handler failed');
      }
      end(response, error.status, encodeError(id, error));
    } finally {
      response.off('close', onClose);
    }
  }
}

function unsupportedMedia({ headers }: IncomingMessage): AppError | undefined {
  const type = (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/json') return new AppError('invalid_request', 'Content-Type must be application/json');
  const encoding = (headers['content-encoding'] ?? 'identity').trim().toLowerCase();
  if (encoding !== 'identity')
    return new AppError('invalid_request', 'Content-Encoding is not supported: send plain JSON');
  return undefined;
}

/** @throws AppError parse_error or invalid_request. */
function readCall(body: string): Call {
  const message = decode(body);
  if (message.kind === 'request') return message;
  if (message.kind === 'malformed') throw message.error;
  throw new AppError('invalid_request', 'HTTP takes requests only: the member `id` is missing');
}

/** RFC 9110 §12.5.1, simplified: the type is accepted if it is named, whatever its weight. */
function acceptsNdjson(request: IncomingMessage): boolean {
  return (request.headers.accept ?? '').toLowerCase().includes('application/x-ndjson');
}

interface ItemSink {
  readonly response: ServerResponse;
  readonly clock: Clock;
  readonly maxUnsentBytes: number;
  readonly signal: AbortSignal;
}

/** Sends the headers with the first item, so that a call which fails before it gets the status of its error. */
async function sendItem({ response, clock, maxUnsentBytes, signal }: ItemSink, line: string): Promise<void> {
  if (response.writableEnded || response.destroyed) throw new AppError('cancelled', 'the client left');
  if (!response.headersSent) {
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store' });
  }
  if (response.writableLength > maxUnsentBytes) {
    response.destroy();
    throw new AppError('send_buffer_full', 'the client reads too slowly');
  }
  if (response.write(`${line}\n`)) return;
  await drained(response, clock, signal);
  signal.throwIfAborted();
}

/** Resolves when the client has read enough, is gone or has stalled, or the signal aborts. */
async function drained(response: ServerResponse, clock: Clock, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = (): void => resolve();
  const stopTimer = clock.after(stalledAfterMs, () => response.destroy());
  response.once('drain', end).once('close', end);
  using _listener = onAbort(signal, end);
  await promise;
  stopTimer();
  response.off('drain', end).off('close', end);
}

/** Sends the last line of a stream, or the whole answer. Does nothing when it was sent already or the client is gone. */
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
