/**
 * Sends a call to a target and its answer to the client, streaming both ways, each side no faster than the other takes.
 *
 * A call is sent again only where that cannot do a thing twice: when not a byte of it was sent (the dial failed, or the
 * idle socket turned out closed before the write), or once for GET and HEAD without body when a kept-alive socket was
 * reset before the answer began. A body is never sent twice. An answer that breaks off ends the client's connection, so
 * that a part can never be taken for the whole.
 */
import type { Dispatcher } from 'undici';
import { AppError } from '../shared/errors.ts';
import type { Clock } from '../shared/clock.ts';
import type { App } from './apps.ts';
import type { Attempt, Call } from './call.ts';
import type { RawFields } from './headers.ts';
import { stripPrefix } from './path.ts';
import { RequestBody } from './request-body.ts';
import type { Target } from './targets.ts';
import type { Connection, ConnectionAware, SocketUse } from './upstream.ts';

export interface ForwardDeps {
  readonly clock: Clock;
  readonly requestTimeoutMs: number;
  /** The call has its connection. */
  readonly onConnected: (app: App, target: Target) => void;
  /** Nothing accepts connections there. */
  readonly onDialFailed: (app: App, target: Target) => void;
  /** The target is done with the call. */
  readonly onLeft: (app: App, target: Target) => void;
}

export interface Forward {
  send(call: Call, app: App, target: Target): void;
}

/** An idle socket that closes under one call after another: treat the target as one that refuses. */
const maxStaleSockets = 3;

export function createForward(deps: ForwardDeps): Forward {
  return {
    send(call, app, target) {
      const { head, req } = call;
      const { path, prefix } = stripPrefix(head.path, app.route);
      const outer = head.outerPrefix + prefix;
      const exchange = new Exchange(call, app, target, deps);
      call.attempt = exchange;
      target.upstream.dispatch(
        socketUse(call),
        {
          path,
          method: req.method ?? 'GET',
          headers: outer === '' ? (head.headers as string[]) : [...head.headers, 'X-Forwarded-Prefix', outer],
          body: head.hasBody ? exchange.body() : null,
        },
        exchange,
      );
    },
  };
}

/** Safe in the sense of RFC 9110 §9.2.1, and nothing to send twice. */
function repeatable(call: Call): boolean {
  return (call.req.method === 'GET' || call.req.method === 'HEAD') && !call.head.hasBody;
}

function socketUse(call: Call): SocketUse {
  if (call.needsFresh) return 'fresh';
  return repeatable(call) ? 'safe' : 'unsafe';
}

type Stage = 'waiting' | 'sent' | 'answering' | 'done';

/** One attempt; what undici tells of it. */
class Exchange implements ConnectionAware, Attempt {
  connection: Connection | undefined;
  readonly #call: Call;
  readonly #app: App;
  readonly #target: Target;
  readonly #deps: ForwardDeps;
  #stage: Stage = 'waiting';
  #controller: Dispatcher.DispatchController | undefined;
  #body: RequestBody | undefined;
  #reusedSocket = false;
  #wroteBody = false;

  constructor(call: Call, app: App, target: Target, deps: ForwardDeps) {
    this.#call = call;
    this.#app = app;
    this.#target = target;
    this.#deps = deps;
    target.inFlight += 1;
    target.connecting += 1;
  }

  body(): RequestBody {
    const call = this.#call;
    this.#body = new RequestBody(call.req, {
      clock: this.#deps.clock,
      timeoutMs: this.#deps.requestTimeoutMs,
      onTimeout: () => this.#fail(new AppError('request_timeout', 'The request body did not arrive in time.')),
      onBytes: (count) => (this.#app.bytes += count),
    });
    return this.#body;
  }

  abort(): void {
    // Before the start there is no controller; onRequestStart then finds the call ended.
    this.#controller?.abort(new AppError('cancelled', 'the client has gone'));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#call.ended || this.#stage === 'done') {
      controller.abort(new AppError('cancelled', 'the client has gone'));
      return;
    }
    if (this.connection !== undefined) this.#reusedSocket = this.connection.uses++ > 0;
    this.#stage = 'sent';
    this.#target.connecting -= 1;
    this.#target.connected();
    this.#deps.onConnected(this.#app, this.#target);
    if (this.#call.expectsContinue) {
      this.#call.expectsContinue = false;
      this.#call.res.writeContinue();
    }
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _: unknown, statusText?: string): void {
    const raw = (controller.rawHeaders ?? []) as RawFields;
    if (status < 200) {
      this.#call.writeInformation(status, raw);
      return;
    }
    this.#call.writeHead(status, statusText, raw);
    this.#stage = 'answering';
    // With the body where that is here already, and without waiting for it where it is not (server-sent events).
    process.nextTick(flushHead, this);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#wroteBody = true;
    this.#app.bytes += chunk.length;
    const { res } = this.#call;
    if (res.write(chunk)) return;
    controller.pause();
    res.once('drain', () => controller.resume());
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    this.#leave();
    this.#body?.destroy();
    this.#call.end((controller.rawTrailers ?? []) as RawFields);
  }

  onResponseError(_: unknown, error: Error): void {
    const stage = this.#stage;
    if (stage === 'done') return;
    this.#leave();
    this.#body?.destroy();
    const call = this.#call;
    call.attempt = undefined;
    if (call.ended) return;
    switch (stage) {
      case 'waiting':
        this.#neverSent(error);
        return;
      case 'sent':
        if (this.#reusedSocket && repeatable(call) && !call.needsFresh && isReset(error)) {
          call.needsFresh = true;
          call.again();
        } else call.refuse(answerError(error));
        return;
      case 'answering':
        call.breakOff();
    }
  }

  #neverSent(error: Error): void {
    const call = this.#call;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED') {
      call.refuse(new AppError('request_invalid', 'The request is refused: it cannot be forwarded as it is.'));
      return;
    }
    if (!isDialFailure(error) && ++call.staleSockets < maxStaleSockets) call.needsFresh = true;
    else {
      call.needsFresh = false;
      this.#deps.onDialFailed(this.#app, this.#target);
    }
    call.again();
  }

  #fail(error: AppError): void {
    const stage = this.#stage;
    if (stage === 'done') return;
    this.#leave();
    this.#body?.destroy();
    this.#call.attempt = undefined;
    this.#controller?.abort(error);
    if (stage === 'answering') this.#call.breakOff();
    else this.#call.refuse(error);
  }

  #leave(): void {
    if (this.#stage === 'waiting') this.#target.connecting -= 1;
    this.#stage = 'done';
    this.#target.inFlight -= 1;
    this.#deps.onLeft(this.#app, this.#target);
  }

  get headPending(): boolean {
    return this.#stage === 'answering' && !this.#wroteBody;
  }

  flushHead(): void {
    this.#call.res.flushHeaders();
  }
}

function flushHead(exchange: Exchange): void {
  if (exchange.headPending) exchange.flushHead();
}

const dialFailures: ReadonlySet<string> = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EADDRNOTAVAIL',
]);

function isDialFailure(error: Error): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return syscall === 'connect' || (code !== undefined && dialFailures.has(code));
}

function isReset(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ECONNRESET' || code === 'EPIPE' || code === 'UND_ERR_SOCKET';
}

/** What the caller gets for a call that was sent and not answered. */
export function answerError(error: Error): AppError {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (code === 'UND_ERR_HEADERS_TIMEOUT') {
    return new AppError('upstream_timeout', 'The app did not begin its answer in time.', { cause: error });
  }
  // undici's parser errors have a name and not always a code; those of node:http have a code.
  const unparsable = error.name === 'HTTPParserError' || code.startsWith('HPE_') || code.startsWith('ERR_');
  if (unparsable || code === 'UND_ERR_HEADERS_OVERFLOW') {
    return new AppError('upstream_protocol', 'The app answered with something that is not valid HTTP.', {
      cause: error,
    });
  }
  return new AppError('upstream_reset', 'The app closed the connection before it answered.', { cause: error });
}
