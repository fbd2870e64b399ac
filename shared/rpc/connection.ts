/** Wraps one open WebSocket: bounds its send buffer, sends pings, detects silence and closes with a reason. */
import type { RawData, WebSocket } from 'ws';
import { AppError } from '../errors.ts';
import { onAbort } from '../wait/abort.ts';
import type { Clock } from '../wait/clock.ts';
import type { RpcLimits } from './limits.ts';

/** The socket is terminated if the other side does not complete the closing handshake within this time. */
const closeTimeoutMs = 1_000;

/** A frame of this size takes about a millisecond to parse and handle. */
const largeFrameBytes = 16_384;

/** RFC 6455 §5.5.1: the payload of a control frame is at most 125 bytes, and the close code takes two of them. */
const maxReasonBytes = 123;

/** Close codes of RFC 6455 §7.4.1. */
export const closeCodes = { normal: 1_000, unsupportedData: 1_003, policyViolation: 1_008, tooBig: 1_009 } as const;

interface ConnectionDeps {
  readonly socket: WebSocket;
  readonly limits: Pick<
    RpcLimits,
    'maxFrameBytes' | 'maxSendBufferBytes' | 'emitHighWaterBytes' | 'heartbeatMs' | 'leaseMs'
  >;
  readonly clock: Clock;
  readonly onFrame: (frame: string) => void;
}

export class Connection {
  readonly #deps: ConnectionDeps;
  readonly #closed = new AbortController();
  readonly #gone = Promise.withResolvers<undefined>();
  readonly #waiters = new Set<() => void>();
  #lastHeardMs: number;
  #stopHeartbeat: () => void;

  constructor(deps: ConnectionDeps) {
    this.#deps = deps;
    this.#lastHeardMs = deps.clock.nowMs();
    this.#stopHeartbeat = deps.clock.after(deps.limits.heartbeatMs, () => {
      this.#heartbeat(this.#lastHeardMs);
    });
    const { socket } = deps;
    socket.on('message', (data, isBinary) => {
      this.#onMessage(data, isBinary);
    });
    const heard = (): void => {
      this.#lastHeardMs = deps.clock.nowMs();
    };
    socket.on('ping', heard);
    socket.on('pong', heard);
    // After an error, ws itself closes the socket with a code that names the violated rule.
    socket.on('error', (cause) => {
      this.#lose(new AppError('link_lost', `the connection failed: ${cause.message}`, { cause }));
      this.#terminateLater();
    });
    socket.on('close', (code, reason) => {
      this.#lose(new AppError('link_lost', `closed by the other side: ${code} ${reason.toString()}`.trimEnd()));
      this.#gone.resolve(undefined);
    });
  }

  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  get lastHeardMs(): number {
    return this.#lastHeardMs;
  }

  /** Sends a frame, or closes the link if too much is unread on the other side. Does nothing once the link is lost. */
  send(frame: string): void {
    const { socket, limits } = this.#deps;
    if (this.#closed.signal.aborted) return;
    if (socket.bufferedAmount + frame.length > limits.maxSendBufferBytes) {
      const error = new AppError('send_buffer_full', `more than ${limits.maxSendBufferBytes} bytes are unread`);
      void this.close(closeCodes.policyViolation, error.code, error);
      return;
    }
    // Errors are also reported by the 'error' and 'close' events; this callback only checks for room.
    socket.send(frame, () => {
      if (this.#hasRoom()) this.#wakeAll();
    });
  }

  /** Resolves when the send buffer is below its high-water mark. @throws the reason of the signal or of `closed`. */
  async room(signal: AbortSignal): Promise<void> {
    while (!this.#hasRoom()) {
      signal.throwIfAborted();
      this.#closed.signal.throwIfAborted();
      const { promise: change, resolve: wake } = Promise.withResolvers<void>();
      this.#waiters.add(wake);
      using _listener = onAbort(signal, wake);
      await change;
      this.#waiters.delete(wake);
    }
  }

  /** Closes the link and resolves when the socket is closed. @param why becomes the reason of `closed`. */
  close(code: number, reason: string, why: AppError): Promise<undefined> {
    if (!this.#closed.signal.aborted) {
      this.#lose(why);
      this.#deps.socket.close(code, cut(reason));
      this.#terminateLater();
    }
    return this.#gone.promise;
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#closed.signal.aborted) return;
    this.#lastHeardMs = this.#deps.clock.nowMs();
    if (isBinary) {
      const error = new AppError('link_lost', 'the other side sent a binary frame');
      void this.close(closeCodes.unsupportedData, 'binary frames are not taken', error);
      return;
    }
    // The default `binaryType` of ws, `nodebuffer`, delivers one Buffer.
    const bytes = data as Buffer;
    if (bytes.length > this.#deps.limits.maxFrameBytes) {
      const error = new AppError('link_lost', `the other side sent a frame of ${bytes.length} bytes`);
      void this.close(closeCodes.tooBig, 'frame_too_large', error);
      return;
    }
    this.#deps.onFrame(bytes.toString('utf8'));
    if (bytes.length >= largeFrameBytes) this.#breathe();
  }

  /** Yields to the event loop between two large frames, since a single read may deliver megabytes of them. */
  #breathe(): void {
    const { socket } = this.#deps;
    socket.pause();
    setImmediate(() => socket.resume());
  }

  /**
   * Sends a ping, and ends the link if nothing was heard for the lease. A very late tick means that this process itself
   * was suspended and that frames from the other side may still be unread, so the check waits for the next tick.
   */
  #heartbeat(previousMs: number): void {
    const { socket, limits, clock } = this.#deps;
    const nowMs = clock.nowMs();
    const stoodStill = nowMs - previousMs > 2 * limits.heartbeatMs;
    if (!stoodStill && nowMs - this.#lastHeardMs > limits.leaseMs) {
      this.#lose(new AppError('link_lost', `nothing heard for ${Math.round(nowMs - this.#lastHeardMs)} ms`));
      socket.terminate();
      return;
    }
    socket.ping();
    this.#stopHeartbeat = clock.after(limits.heartbeatMs, () => {
      this.#heartbeat(nowMs);
    });
  }

  #hasRoom(): boolean {
    return this.#deps.socket.bufferedAmount <= this.#deps.limits.emitHighWaterBytes;
  }

  #wakeAll(): void {
    for (const wake of this.#waiters) wake();
  }

  /** Marks the link as lost, although the socket may still be closing. */
  #lose(reason: AppError): void {
    if (this.#closed.signal.aborted) return;
    this.#stopHeartbeat();
    this.#closed.abort(reason);
    this.#wakeAll();
  }

  #terminateLater(): void {
    const stop = this.#deps.clock.after(closeTimeoutMs, () => {
      this.#deps.socket.terminate();
    });
    this.#deps.socket.once('close', stop);
  }
}

/** Shortens the reason to 123 bytes without splitting a character. */
function cut(reason: string): string {
  let end = reason.length;
  while (Buffer.byteLength(reason.slice(0, end)) > maxReasonBytes) end -= 1;
  return reason.slice(0, end);
}
