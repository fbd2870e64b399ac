/** The HTTP server of the builder: authentication, health endpoints, and draining. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { buildsPath } from '../shared/protocol/builder-wire.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import { listen } from '../shared/net/listen.ts';
import { sendProblem } from '../shared/problem.ts';
import { untilAborted } from '../shared/wait/abort.ts';
import { createBuildEndpoint, type BuildEndpointDeps } from './build-endpoint.ts';

export interface BuilderServerDeps extends Omit<BuildEndpointDeps, 'drained' | 'stopped'> {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** If undefined, everyone who can reach the builder may build. */
  readonly token: string | undefined;
  /** PEM texts. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
}

const maxConnections = 512;
const headersTimeoutMs = 10_000;
/** How long the rest of a refused request is read, so that its sender gets to read the refusal. */
const lingerMs = 10_000;

/** Rejects if the port is taken. */
export async function startBuilderServer(deps: BuilderServerDeps) {
  const { host, port, token, tls, admitted, clock, log } = deps;
  const drained = new AbortController();
  const stopped = new AbortController();
  const build = createBuildEndpoint({ ...deps, drained: drained.signal, stopped: stopped.signal });
  const isAdmitted = createAdmission(token);
  const requestTimeout = Math.max(deps.run.timeoutMs, headersTimeoutMs);
  const options = { requestTimeout, headersTimeout: headersTimeoutMs, keepAliveTimeout: 5_000 };
  const server = tls === undefined ? createHttpServer(options) : createHttpsServer({ ...options, ...tls });
  server.maxConnections = maxConnections;
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    answer(request, response).catch((error: unknown) => {
      const known = toAppError(error);
      if (known.code === 'internal' && !response.destroyed) log.error({ err: error }, 'a request failed');
      if (response.headersSent) response.destroy();
      else refuse(request, response, known);
    });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split('?', 1)[0] ?? '';
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (isRead && path === '/livez') sendHealth(response, undefined);
    else if (isRead && path === '/readyz') sendHealth(response, drained.signal.aborted ? 'draining' : undefined);
    else if (request.method === 'POST' && path === buildsPath) {
      if (isAdmitted(request.headers.authorization)) await build(request, response);
      else throw new AppError('unauthenticated', 'the token for this builder is missing or wrong');
    } else throw new AppError('method_not_found', `there is no ${request.method ?? ''} ${path} here`);
  }

  function refuse(request: IncomingMessage, response: ServerResponse, error: AppError): void {
    sendProblem(response, error, error.code === 'source_invalid' ? { status: 413 } : {});
    // Closing now could destroy the answer before the client reads it (RFC 9112 §9.6), so the rest of the request is read for a while.
    if (request.complete || request.closed) return;
    const { socket } = request;
    const stopTimer = clock.after(lingerMs, () => socket.destroy());
    // A request that is answered gets no more events of its socket, hence both listeners.
    const onClose = (): void => {
      stopTimer();
      socket.off('close', onClose);
    };
    socket.once('close', onClose);
    request.once('close', onClose);
    request.resume();
  }

  const address = await listen(server, { host, port });
  return {
    port: address.port,
    /** Refuses new builds and ends those that wait. Resolves when those that run have ended, or the signal aborts. */
    async drain(signal: AbortSignal): Promise<void> {
      drained.abort();
      // The caller closes builds that are late.
      await untilAborted(admitted.idle(), signal).catch(() => undefined);
    },
    /** Ends all builds and connections; resolves when nothing is left of them. */
    async close(): Promise<void> {
      drained.abort();
      stopped.abort(new AppError('cancelled', 'this builder stops'));
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      await admitted.idle();
      server.closeAllConnections();
      await closed;
    },
  };
}

export type BuilderServer = Awaited<ReturnType<typeof startBuilderServer>>;

/** Compares digests in constant time, so that timing reveals nothing about the token. */
function createAdmission(token: string | undefined): (authorization: string | undefined) => boolean {
  if (token === undefined) return () => true;
  const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();
  const expected = digestOf(token);
  return (authorization) => {
    const presented = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    return presented !== undefined && timingSafeEqual(digestOf(presented), expected);
  };
}

function sendHealth(response: ServerResponse, problem: string | undefined): void {
  const headers = { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' };
  response.writeHead(problem === undefined ? 200 : 503, headers);
  response.end(response.req.method === 'HEAD' ? undefined : `${problem ?? 'ok'}\n`);
}
