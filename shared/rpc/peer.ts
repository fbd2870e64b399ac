/**
 * One end of a link: calls, notifications and streams in both directions over a WebSocket that is already open. It
 * connects the parts: codec (frames and messages), connection (the socket), pending-calls (our calls), dispatch and
 * served-calls (the other side's calls).
 */
import type { WebSocket } from 'ws';
import { AppError } from '../errors.ts';
import { onAbort } from '../wait/abort.ts';
import type { Log } from '../log.ts';
import type { MethodTable, ParamsInputOf, ResultOf } from '../protocol/methods.ts';
import { systemClock, type Clock } from '../wait/clock.ts';
import { decode, encodeCancel, encodeError, encodeNotification, encodeRequest, type Message } from './codec.ts';
import { closeCodes, Connection } from './connection.ts';
import { createDispatch, type ServedCall } from './dispatch.ts';
import { defaultLimits, type RpcLimits } from './limits.ts';
import { PendingCalls, type NewCall } from './pending-calls.ts';
import { ServedCalls } from './served-calls.ts';
import type { CallOptions, Handlers, Identity, NotificationHandlers, Peer } from './types.ts';

/** The link is closed after this many malformed frames. */
const maxMalformed = 10;

export interface PeerOptions<Local extends MethodTable, Remote extends MethodTable> {
  /** An open socket: call `createPeer` synchronously in the event that delivered it, before anything is read. */
  readonly socket: WebSocket;
  /** The methods served by this side; scopes and parameters are checked before a handler runs. */
  readonly local: Local;
  readonly handlers: Handlers<Local, Remote>;
  /** The methods served by the other side; results and items are validated before the caller sees them. */
  readonly remote: Remote;
  readonly notifications?: NotificationHandlers<Remote>;
  /** The identity of the other side. */
  readonly identity: Identity;
  readonly limits?: Partial<RpcLimits>;
  /** Called at the end of each call that this side serves. */
  readonly onServed?: ((call: ServedCall) => void) | undefined;
  readonly log: Log;
  readonly clock?: Clock;
}

export function createPeer<Local extends MethodTable, Remote extends MethodTable>(
  options: PeerOptions<Local, Remote>,
): Peer<Remote> {
  return new LinkPeer(options);
}

class LinkPeer<Local extends MethodTable, Remote extends MethodTable> implements Peer<Remote> {
  readonly #options: PeerOptions<Local, Remote>;
  readonly #limits: RpcLimits;
  readonly #connection: Connection;
  readonly #pending: PendingCalls;
  readonly #served: ServedCalls<Remote>;
  #malformed = 0;

  constructor(options: PeerOptions<Local, Remote>) {
    const { socket, local, handlers, onServed, identity, log, clock = systemClock } = options;
    const limits: RpcLimits = { ...defaultLimits, ...options.limits };
    const connection = new Connection({ socket, limits, clock, onFrame: (frame) => this.#take(frame) });
    this.#options = options;
    this.#limits = limits;
    this.#connection = connection;
    this.#pending = new PendingCalls({
      maxPendingCalls: limits.maxPendingCalls,
      clock,
      onAbandon: (id) => connection.send(encodeCancel(id)),
    });
    this.#served = new ServedCalls<Remote>({
      dispatch: createDispatch({ local, handlers, onServed }),
      identity,
      peer: () => this,
      limits,
      clock,
      log,
      send: (frame) => connection.send(frame),
      room: (signal) => connection.room(signal),
      onFlood: () => this.#refuse('too_many_calls', 'the other side goes on calling over the limit of calls in flight'),
    });
    onAbort(connection.closed, () => {
      const lost = linkLost(connection.closed.reason as AppError);
      this.#pending.failAll(lost);
      this.#served.abortAll(lost);
    });
  }

  get closed(): AbortSignal {
    return this.#connection.closed;
  }

  get lastHeardMs(): number {
    return this.#connection.lastHeardMs;
  }

  async call<K extends keyof Remote & string>(
    name: K,
    params: ParamsInputOf<Remote[K]>,
    { signal, deadlineMs, onItem }: CallOptions<Remote[K]> = {},
  ): Promise<ResultOf<Remote[K]>> {
    const method = this.#options.remote[name];
    if (method === undefined) throw new AppError('method_not_found', `no method ${name}`);
    // The schema of the method has validated the items and the result, so they match their types.
    const call: NewCall = { name, method, signal, deadlineMs, onItem: onItem as NewCall['onItem'] };
    return (await this.#send(call, params)) as ResultOf<Remote[K]>;
  }

  notify(method: string, params: Readonly<Record<string, unknown>>): void {
    this.#connection.send(encodeNotification(method, params));
  }

  async close(code: number = closeCodes.normal, reason = ''): Promise<void> {
    const why = new AppError('link_lost', reason === '' ? 'closed by this side' : `closed by this side: ${reason}`);
    await this.#connection.close(code, reason, why);
  }

  #take(frame: string): void {
    const message = decode(frame);
    switch (message.kind) {
      case 'request':
        this.#served.begin(message);
        break;
      case 'cancel':
        this.#served.cancel(message.id);
        break;
      case 'notification':
        this.#notified(message);
        break;
      case 'item':
        this.#pending.item(message.id, message.item);
        break;
      case 'result':
        this.#pending.result(message.id, message.result);
        break;
      case 'error':
        if (message.id !== null) this.#pending.fail(message.id, message.error);
        else this.#options.log.warn({ err: message.error }, 'the other side could not read a frame');
        break;
      case 'malformed':
        this.#onMalformed(message);
        break;
    }
  }

  #notified({ method, params }: Message & { kind: 'notification' }): void {
    const { notifications = {}, identity, log } = this.#options;
    const handler = Object.hasOwn(notifications, method) ? notifications[method] : undefined;
    try {
      handler?.(params, { identity, peer: this });
    } catch (error) {
      log.warn({ err: error, method, caller: identity.name }, 'a notification was not taken');
    }
  }

  #onMalformed({ error, brokenId }: Message & { kind: 'malformed' }): void {
    this.#malformed += 1;
    if (brokenId === undefined) this.#connection.send(encodeError(null, error));
    else this.#pending.fail(brokenId, new AppError('internal', `the other side answered badly: ${error.message}`));
    if (this.#malformed >= maxMalformed)
      this.#refuse('invalid_request', `${this.#malformed} frames were no JSON-RPC 2.0 messages`);
  }

  #refuse(reason: AppError['code'], message: string): void {
    const { log, identity } = this.#options;
    log.warn({ reason, caller: identity.name }, `closing a link: ${message}`);
    void this.#connection.close(closeCodes.policyViolation, reason, new AppError('link_lost', message));
  }

  #send(call: NewCall, params: unknown): Promise<unknown> {
    if (this.closed.aborted) throw linkLost(this.closed.reason as AppError);
    const { name, deadlineMs } = call;
    const { id, answer } = this.#pending.open(call);
    try {
      const frame = encodeRequest(id, name, params, deadlineMs);
      const bytes = Buffer.byteLength(frame);
      if (bytes > this.#limits.maxFrameBytes)
        throw new AppError('frame_too_large', `${name}: a frame of ${bytes} bytes`);
      this.#connection.send(frame);
    } catch (error) {
      const known = error instanceof AppError;
      this.#pending.fail(id, known ? error : new AppError('internal', `${name}: no JSON`, { cause: error }));
    }
    return answer;
  }
}

/** The calls of a link end with the code link_lost, whatever the reason was. */
function linkLost(reason: AppError): AppError {
  return reason.code === 'link_lost' ? reason : new AppError('link_lost', reason.message, { cause: reason });
}
