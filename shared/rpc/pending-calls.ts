/** Tracks the calls of this side that wait for an answer. It has no socket: its owner receives and sends the frames. */
import { AppError } from '../errors.ts';
import { onAbort } from '../wait/abort.ts';
import type { Method } from '../protocol/methods.ts';
import type { Clock } from '../wait/clock.ts';
import type { CallId } from './codec.ts';

export interface NewCall {
  readonly name: string;
  readonly method: Method;
  readonly signal: AbortSignal | undefined;
  readonly deadlineMs: number | undefined;
  readonly onItem: ((item: unknown) => void) | undefined;
}

interface Pending {
  readonly call: NewCall;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: AppError) => void;
}

interface PendingCallsDeps {
  readonly maxPendingCalls: number;
  readonly clock: Clock;
  /** Called when the caller has given up on a call, so that the other side can stop working on it. */
  readonly onAbandon: (id: number) => void;
}

export class PendingCalls {
  readonly #deps: PendingCallsDeps;
  readonly #pending = new Map<CallId, Pending>();
  #lastId = 0;

  constructor(deps: PendingCallsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#pending.size;
  }

  /**
   * Registers a call. The promise settles by `result`, `fail`, `failAll`, the signal or the deadline, whichever comes
   * first.
   * @throws AppError too_many_calls, cancelled or deadline_exceeded: the call must not be sent.
   */
  open(call: NewCall): { readonly id: number; readonly answer: Promise<unknown> } {
    if (call.signal?.aborted === true) throw new AppError('cancelled', `${call.name}: cancelled before it was sent`);
    if (call.deadlineMs !== undefined && !(call.deadlineMs > 0)) throw expired(call);
    if (this.#pending.size >= this.#deps.maxPendingCalls) {
      throw new AppError('too_many_calls', `${call.name}: ${this.#pending.size} calls already wait for an answer`);
    }
    this.#lastId += 1;
    const id = this.#lastId;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();

    const listener =
      call.signal &&
      onAbort(call.signal, () => {
        this.#abandon(id, new AppError('cancelled', `${call.name}: cancelled`, { cause: call.signal?.reason }));
      });
    const { deadlineMs } = call;
    const expire = (): void => this.#abandon(id, expired(call));
    const stopTimer = deadlineMs === undefined ? undefined : this.#deps.clock.after(deadlineMs, expire);

    const leaveBefore =
      <T>(settle: (outcome: T) => void) =>
      (outcome: T): void => {
        this.#pending.delete(id);
        stopTimer?.();
        listener?.[Symbol.dispose]();
        settle(outcome);
      };
    this.#pending.set(id, { call, resolve: leaveBefore(resolve), reject: leaveBefore(reject) });
    return { id, answer: promise };
  }

  /** Resolves a call. An unknown id belongs to a late answer to a call that was given up, and is ignored. */
  result(id: CallId, result: unknown): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    const parsed = pending.call.method.result.safeParse(result);
    if (parsed.success) pending.resolve(parsed.data);
    else pending.reject(unexpected(pending.call, 'result', parsed.error));
  }

  item(id: CallId, item: unknown): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    const { call } = pending;
    if (call.onItem === undefined || call.method.item === undefined) return;
    const parsed = call.method.item.safeParse(item);
    if (!parsed.success) {
      this.#abandon(id, unexpected(call, 'item', parsed.error));
      return;
    }
    try {
      call.onItem(parsed.data);
    } catch (cause) {
      this.#abandon(id, new AppError('internal', `${call.name}: an item could not be taken`, { cause }));
    }
  }

  fail(id: CallId, error: AppError): void {
    this.#pending.get(id)?.reject(error);
  }

  failAll(error: AppError): void {
    for (const pending of this.#pending.values()) pending.reject(error);
  }

  #abandon(id: CallId, error: AppError): void {
    this.fail(id, error);
    if (typeof id === 'number') this.#deps.onAbandon(id);
  }
}

function expired(call: NewCall): AppError {
  return new AppError('deadline_exceeded', `${call.name}: no answer within ${call.deadlineMs} ms`);
}

function unexpected(call: NewCall, what: string, cause: Error): AppError {
  return new AppError('internal', `${call.name}: the other side sent a ${what} that does not match its schema`, {
    cause,
  });
}
