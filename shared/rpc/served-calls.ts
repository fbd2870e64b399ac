/**
 * Tracks the other side's calls while they are served. It has no socket. Each call is answered exactly once: by its
 * handler, or earlier when it is cancelled or its deadline passes. A handler whose call was answered early still counts
 * until it has ended, so that a caller cannot pile up work by cancelling in a loop.
 */
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { MethodTable } from '../protocol/methods.ts';
import type { Clock } from '../wait/clock.ts';
import { encodeError, encodeItem, encodeResult, type CallId } from './codec.ts';
import type { Dispatch } from './dispatch.ts';
import type { Identity, Peer } from './types.ts';

/** The link is closed after this many consecutive refusals, as a multiple of maxCallsInFlight. */
const floodFactor = 4;

interface ServedCallsDeps<Remote extends MethodTable> {
  readonly dispatch: Dispatch<Remote>;
  readonly identity: Identity;
  readonly peer: () => Peer<Remote>;
  readonly limits: { readonly maxCallsInFlight: number; readonly maxFrameBytes: number };
  readonly clock: Clock;
  readonly log: Log;
  readonly send: (frame: string) => void;
  /** Resolves when the send buffer has room. Rejects when the link is lost or the signal aborts. */
  readonly room: (signal: AbortSignal) => Promise<void>;
  readonly onFlood: () => void;
}

interface Served {
  readonly abort: AbortController;
  /** Sends the answer; only the first call has an effect. */
  readonly answer: (frame: string) => void;
}

export class ServedCalls<Remote extends MethodTable> {
  readonly #deps: ServedCallsDeps<Remote>;
  /** The calls that are not answered yet, by id. */
  readonly #open = new Map<CallId, Served>();
  #running = 0;
  #refusedInARow = 0;

  constructor(deps: ServedCallsDeps<Remote>) {
    this.#deps = deps;
  }

  /** The number of handlers that have not ended. */
  get running(): number {
    return this.#running;
  }

  begin(call: { id: CallId; method: string; params: unknown; deadlineMs: number | undefined }): void {
    const { id } = call;
    if (this.#open.has(id)) {
      this.#deps.send(encodeError(id, new AppError('invalid_request', 'a call with this id is in flight')));
      return;
    }
    if (this.#running >= this.#deps.limits.maxCallsInFlight) {
      this.#refuse(id);
      return;
    }
    this.#refusedInARow = 0;
    this.#running += 1;
    // Failures of the handler become answers, so anything caught here is a bug in this file.
    this.#serve(call)
      .catch((error: unknown) => {
        this.#deps.log.error({ err: error, method: call.method }, 'serving a call failed');
      })
      .finally(() => {
        this.#running -= 1;
      });
  }

  cancel(id: CallId): void {
    this.#end(id, new AppError('cancelled', 'cancelled by the caller'));
  }

  /** Aborts all calls without answering them, because the link is lost. */
  abortAll(reason: AppError): void {
    for (const served of this.#open.values()) served.abort.abort(reason);
    this.#open.clear();
  }

  #refuse(id: CallId): void {
    const { limits, send, onFlood } = this.#deps;
    this.#refusedInARow += 1;
    if (this.#refusedInARow > limits.maxCallsInFlight * floodFactor) {
      onFlood();
      return;
    }
    const message = `${limits.maxCallsInFlight} calls are in flight on this link`;
    send(encodeError(id, new AppError('too_many_calls', message)));
  }

  async #serve(call: { id: CallId; method: string; params: unknown; deadlineMs: number | undefined }): Promise<void> {
    const { id, method, params, deadlineMs } = call;
    const { dispatch, identity, peer, clock, log } = this.#deps;
    const served = this.#register(id);
    const { signal } = served.abort;
    const stopTimer =
      deadlineMs === undefined
        ? undefined
        : clock.after(deadlineMs, () => {
            this.#end(id, new AppError('deadline_exceeded', `not done within ${deadlineMs} ms`));
          });
    const emit = async (item: unknown): Promise<void> => {
      signal.throwIfAborted();
      if (this.#open.get(id) !== served) throw new AppError('internal', `${method}: an item after the answer`);
      this.#deps.send(this.#bounded(encodeItem(id, item)));
      await this.#deps.room(signal);
    };
    try {
      const result = await dispatch({ method, params, context: { identity, signal, emit, peer: peer() } });
      served.answer(this.#bounded(encodeResult(id, result)));
    } catch (error) {
      const expected = signal.aborted || (error instanceof AppError && error.code !== 'internal');
      if (!expected) log.error({ err: error, method, caller: identity.name }, 'a handler failed');
      served.answer(this.#errorFrame(id, error));
    } finally {
      stopTimer?.();
    }
  }

  #register(id: CallId): Served {
    const served: Served = {
      abort: new AbortController(),
      answer: (frame) => {
        // A later call may have reused the id, so the call is compared and not its id.
        if (this.#open.get(id) !== served) return;
        this.#open.delete(id);
        this.#deps.send(frame);
      },
    };
    this.#open.set(id, served);
    return served;
  }

  /** Answers a call before its handler has ended, and aborts the handler. */
  #end(id: CallId, reason: AppError): void {
    const served = this.#open.get(id);
    if (served === undefined) return;
    served.answer(encodeError(id, reason));
    served.abort.abort(reason);
  }

  #bounded(frame: string): string {
    const bytes = Buffer.byteLength(frame);
    const { maxFrameBytes } = this.#deps.limits;
    if (bytes <= maxFrameBytes) return frame;
    throw new AppError('frame_too_large', `the answer has ${bytes} bytes; a frame may have at most ${maxFrameBytes}`);
  }

  /** Drops the details of an error (such as log lines) if the frame would be too large. */
  #errorFrame(id: CallId, error: unknown): string {
    const frame = encodeError(id, error);
    if (Buffer.byteLength(frame) <= this.#deps.limits.maxFrameBytes || !(error instanceof AppError)) return frame;
    return encodeError(id, new AppError(error.code, error.message.slice(0, 1_000)));
  }
}
