/**
 * One end of a link: calls, notifications and streams in both directions over a WebSocket that is already open. It
 * connects the parts: codec (frames and messages), connection (the socket), pending-calls (our calls), dispatch and
 * served-calls (the other side's calls).
 */
import type { WebSocket } from 'ws';
import { AppError } from '../errors.ts';
import { onAbort } from '../wait/abort.ts';
import type { Log } from '../log.ts';
import type { MethodTable } from '../protocol/methods.ts';
import { systemClock, type Clock } from '../wait/clock.ts';
import { decode, encodeCancel, encodeError, encodeNotification, encodeRequest, type Message } from './codec.ts';
import { closeCodes, Connection } from './connection.ts';
import { createDispatch, type ServedCall } from './dispatch.ts';
import { defaultLimits, type RpcLimits } from './limits.ts';
import { PendingCalls, type NewCall } from './pending-calls.ts';
import { ServedCalls } from './served-calls.ts';
import type { Handlers, Identity, NotificationHandlers, Peer } from './types.ts';

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
  const { socket, local, handlers, remote, notifications = {}, identity, log, clock = systemClock } = options;
  const limits: RpcLimits = { ...defaultLimits, ...options.limits };

  const connection = new Connection({ socket, limits, clock, onFrame });
  const pending = new PendingCalls({
    maxPendingCalls: limits.maxPendingCalls,
    clock,
    onAbandon: (id) => {
      connection.send(encodeCancel(id));
    },
  });
  const served = new ServedCalls<Remote>({
    dispatch: createDispatch({ local, handlers, onServed: options.onServed }),
    identity,
    peer: () => peer,
    limits,
    clock,
    log,
    send: (frame) => {
      connection.send(frame);
    },
    room: (signal) => connection.room(signal),
    onFlood: () => {
      refuse('too_many_calls', 'the other side goes on calling over the limit of calls in flight');
    },
  });
  let malformed = 0;

  onAbort(connection.closed, () => {
    const lost = linkLost(connection.closed.reason as AppError);
    pending.failAll(lost);
    served.abortAll(lost);
  });

  function onFrame(frame: string): void {
    const message = decode(frame);
    switch (message.kind) {
      case 'request':
        served.begin(message);
        break;
      case 'cancel':
        served.cancel(message.id);
        break;
      case 'notification':
        onNotification(message);
        break;
      case 'item':
        pending.item(message.id, message.item);
        break;
      case 'result':
        pending.result(message.id, message.result);
        break;
      case 'error':
        if (message.id === null) log.warn({ err: message.error }, 'the other side could not read a frame');
        else pending.fail(message.id, message.error);
        break;
      case 'malformed':
        onMalformed(message);
        break;
    }
  }

  function onNotification({ method, params }: Message & { kind: 'notification' }): void {
    const handler = Object.hasOwn(notifications, method) ? notifications[method] : undefined;
    try {
      handler?.(params, { identity, peer });
    } catch (error) {
      log.warn({ err: error, method, caller: identity.name }, 'a notification was not taken');
    }
  }

  function onMalformed({ error, brokenId }: Message & { kind: 'malformed' }): void {
    malformed += 1;
    if (brokenId === undefined) connection.send(encodeError(null, error));
    else pending.fail(brokenId, new AppError('internal', `the other side answered badly: ${error.message}`));
    if (malformed >= maxMalformed) refuse('invalid_request', `${malformed} frames were no JSON-RPC 2.0 messages`);
  }

  function refuse(reason: AppError['code'], message: string): void {
    log.warn({ reason, caller: identity.name }, `closing a link: ${message}`);
    void connection.close(closeCodes.policyViolation, reason, new AppError('link_lost', message));
  }

  function send(name: string, call: NewCall, params: unknown): Promise<unknown> {
    if (connection.closed.aborted) throw linkLost(connection.closed.reason as AppError);
    const { id, answer } = pending.open(call);
    try {
      const frame = encodeRequest(id, name, params, call.deadlineMs);
      const bytes = Buffer.byteLength(frame);
      if (bytes > limits.maxFrameBytes) throw new AppError('frame_too_large', `${name}: a frame of ${bytes} bytes`);
      connection.send(frame);
    } catch (error) {
      pending.fail(
        id,
        error instanceof AppError ? error : new AppError('internal', `${name}: no JSON`, { cause: error }),
      );
    }
    return answer;
  }

  const peer: Peer<Remote> = {
    async call(name, params, callOptions = {}) {
      const { signal, deadlineMs, onItem } = callOptions;
      const method = remote[name];
      if (method === undefined) throw new AppError('method_not_found', `no method ${name}`);
      // The schema of the method has validated the items and the result, so they match their types.
      const call: NewCall = { name, method, signal, deadlineMs, onItem: onItem as NewCall['onItem'] };
      return (await send(name, call, params)) as never;
    },
    notify(method, params) {
      connection.send(encodeNotification(method, params));
    },
    closed: connection.closed,
    get lastHeardMs() {
      return connection.lastHeardMs;
    },
    async close(code = closeCodes.normal, reason = '') {
      const why = new AppError('link_lost', reason === '' ? 'closed by this side' : `closed by this side: ${reason}`);
      await connection.close(code, reason, why);
    },
  };
  return peer;
}

/** The calls of a link end with the code link_lost, whatever the reason was. */
function linkLost(reason: AppError): AppError {
  return reason.code === 'link_lost' ? reason : new AppError('link_lost', reason.message, { cause: reason });
}
