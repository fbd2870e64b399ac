/**
 * One attempt on a connection of its own, by node:http: for what a pooled connection cannot carry. That is Upgrade, whose
 * connection is used up, and requests that announce trailer fields, which undici does not send.
 */
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { AppError } from '../shared/errors.ts';
import type { Clock } from '../shared/clock.ts';
import type { App } from './apps.ts';
import type { Attempt, Call } from './call.ts';
import { answerError, type ForwardDeps } from './forward.ts';
import { trailerPairs } from './headers.ts';
import { stripPrefix } from './path.ts';
import { RequestBody } from './request-body.ts';
import type { Target } from './targets.ts';

export interface DirectDeps extends ForwardDeps {
  readonly connectTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly maxHeaderBytes: number;
}

export interface DirectOptions {
  /** Fields that only this connection has: Upgrade, or the transfer coding. */
  readonly hopFields: readonly string[];
  /** The app switched protocols; from here on the caller owns its socket, and `left` tells that it is done with it. */
  readonly onUpgrade?: (answer: IncomingMessage, socket: Socket, head: Buffer, left: () => void) => void;
}

export function sendDirect(call: Call, app: App, target: Target, deps: DirectDeps, options: DirectOptions): void {
  call.attempt = new DirectExchange(call, app, target, deps, options);
}

class DirectExchange implements Attempt {
  readonly #call: Call;
  readonly #app: App;
  readonly #target: Target;
  readonly #deps: DirectDeps;
  readonly #request: ClientRequest;
  #stage: 'connecting' | 'sent' | 'answering' | 'done' = 'connecting';
  #stopTimer: () => void;
  #body: RequestBody | undefined;

  constructor(call: Call, app: App, target: Target, deps: DirectDeps, options: DirectOptions) {
    this.#call = call;
    this.#app = app;
    this.#target = target;
    this.#deps = deps;
    target.inFlight += 1;
    target.connecting += 1;
    const { head, req } = call;
    const { path, prefix } = stripPrefix(head.path, app.route);
    const outer = head.outerPrefix + prefix;
    const socket = connect({
      host: target.host,
      port: target.port,
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
    });
    socket.once('connect', () => this.#connected(socket));
    this.#stopTimer = this.#deadline(deps.clock, deps.connectTimeoutMs, 'UND_ERR_CONNECT_TIMEOUT');
    this.#request = request({
      createConnection: () => socket,
      method: req.method,
      path,
      headers: [...head.headers, ...(outer === '' ? [] : ['X-Forwarded-Prefix', outer]), ...options.hopFields],
      setHost: false,
      maxHeaderSize: deps.maxHeaderBytes,
    });
    this.#request.on('information', (info) => call.writeInformation(info.statusCode, info.rawHeaders));
    this.#request.once('response', (answer) => this.#answer(answer));
    this.#request.on('error', (error) => this.#failed(error));
    this.#request.once('upgrade', (answer, upgraded, first) => {
      const { onUpgrade } = options;
      if (this.#stage === 'done' || onUpgrade === undefined) {
        upgraded.destroy();
        this.#failed(new Error('an upgrade that was not asked for'));
        return;
      }
      this.#stopTimer();
      this.#stage = 'done';
      call.attempt = undefined;
      target.inFlight -= 1;
      target.upgraded += 1;
      onUpgrade(answer, upgraded, first, () => {
        target.upgraded -= 1;
        deps.onLeft(app, target);
      });
    });
    if (head.hasBody) this.#sendBody();
    else this.#request.end();
  }

  abort(): void {
    if (this.#stage === 'done') return;
    this.#leave();
    this.#request.destroy();
  }

  #connected(socket: Socket): void {
    if (this.#stage !== 'connecting') {
      socket.destroy();
      return;
    }
    this.#stopTimer();
    this.#stage = 'sent';
    this.#target.connecting -= 1;
    this.#target.connected();
    this.#deps.onConnected(this.#app, this.#target);
    this.#stopTimer = this.#deadline(this.#deps.clock, this.#deps.headersTimeoutMs, 'UND_ERR_HEADERS_TIMEOUT');
    if (this.#call.expectsContinue) {
      this.#call.expectsContinue = false;
      this.#call.res.writeContinue();
    }
    this.#body?.resume();
  }

  /** Nothing of it is read before the connection stands, so that the call can still go elsewhere. */
  #sendBody(): void {
    const { req } = this.#call;
    const body = new RequestBody(req, {
      clock: this.#deps.clock,
      timeoutMs: this.#deps.requestTimeoutMs,
      onTimeout: () =>
        this.#request.destroy(new AppError('request_timeout', 'The request body did not arrive in time.')),
      onBytes: (count) => (this.#app.bytes += count),
    });
    this.#body = body;
    body.pause();
    body.on('data', (chunk: Buffer) => {
      if (!this.#request.write(chunk)) body.pause();
    });
    this.#request.on('drain', () => body.resume());
    body.once('end', () => {
      const trailers = trailerPairs(req.rawTrailers);
      if (trailers.length > 0) this.#request.addTrailers(trailers);
      this.#request.end();
    });
  }

  #answer(answer: IncomingMessage): void {
    if (this.#stage === 'done') return;
    this.#stopTimer();
    const { res } = this.#call;
    try {
      this.#call.writeHead(answer.statusCode ?? 502, answer.statusMessage, answer.rawHeaders);
    } catch (error) {
      this.#request.destroy(error as Error);
      return;
    }
    this.#stage = 'answering';
    res.flushHeaders();
    answer.on('data', (chunk: Buffer) => {
      this.#app.bytes += chunk.length;
      if (res.write(chunk)) return;
      answer.pause();
      res.once('drain', () => answer.resume());
    });
    answer.once('error', (error) => this.#failed(error));
    answer.once('end', () => {
      if (this.#stage === 'done' || !answer.complete) return;
      this.#leave();
      this.#call.end(answer.rawTrailers);
    });
    answer.once('close', () => {
      if (!answer.complete) this.#failed(new Error('the answer broke off'));
    });
  }

  #failed(error: Error): void {
    const stage = this.#stage;
    if (stage === 'done') return;
    this.#leave();
    const call = this.#call;
    call.attempt = undefined;
    this.#request.destroy();
    if (call.ended) return;
    switch (stage) {
      case 'connecting':
        this.#deps.onDialFailed(this.#app, this.#target);
        call.again();
        return;
      case 'sent':
        call.refuse(error instanceof AppError ? error : answerError(error));
        return;
      case 'answering':
        call.breakOff();
    }
  }

  #leave(): void {
    this.#stopTimer();
    if (this.#stage === 'connecting') this.#target.connecting -= 1;
    this.#stage = 'done';
    this.#target.inFlight -= 1;
    this.#body?.destroy();
    this.#deps.onLeft(this.#app, this.#target);
  }

  #deadline(clock: Clock, ms: number, code: string): () => void {
    return clock.after(ms, () => this.#request.destroy(Object.assign(new Error(code), { code })));
  }
}
