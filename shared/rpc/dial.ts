/** Makes one attempt to open a link: performs the WebSocket handshake and turns a refusal into an AppError. */
import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { isErrorCode } from '../error-codes.ts';
import { AppError } from '../errors.ts';
import { onAbort } from '../wait/abort.ts';
import { instanceHeader, subprotocol } from '../protocol/methods.ts';

interface DialOptions<T> {
  /** The URL of the endpoint, `ws(s)://host:port/rpc`. */
  readonly url: string;
  readonly token: string;
  /** Tells this process from others that use the same name. */
  readonly instance?: string | undefined;
  readonly maxFrameBytes: number;
  readonly handshakeTimeoutMs: number;
  readonly signal: AbortSignal;
  /** Called synchronously when the socket opens, so that no frame arrives before a listener is attached. */
  readonly onOpen: (socket: WebSocket) => T;
}

/** A refusal is a short problem+json document; reading stops after this many bytes. */
const maxRefusalBytes = 4_096;
const problem = z.object({ code: z.string(), detail: z.string().transform((text) => text.slice(0, 1_000)) });

/**
 * @throws AppError unauthenticated, forbidden, not_leader, platform_unavailable or store_unavailable (as reported by the other side), cancelled, or link_lost
 *   for any other failure.
 */
export async function dial<T>(options: DialOptions<T>): Promise<T> {
  const { url, token, instance, maxFrameBytes, handshakeTimeoutMs, signal, onOpen } = options;
  if (signal.aborted) throw new AppError('cancelled', 'dialling was cancelled');
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const socket = new WebSocket(url, subprotocol, {
    headers: { Authorization: `Bearer ${token}`, ...(instance === undefined ? {} : { [instanceHeader]: instance }) },
    handshakeTimeout: handshakeTimeoutMs,
    maxPayload: maxFrameBytes,
    // Compression costs memory for each link and saves little on small frames.
    perMessageDeflate: false,
  });
  const fail = (error: AppError): void => {
    reject(error);
    socket.terminate();
  };
  // This listener is never removed: terminating a socket that is still connecting emits an error, which can be ignored
  // by then.
  socket.on('error', (cause) => {
    reject(new AppError('link_lost', cause.message === '' ? String(cause) : cause.message, { cause }));
  });
  socket.once('unexpected-response', (_request, response) => {
    readRefusal(response).then(fail, fail);
  });
  socket.once('open', () => {
    try {
      resolve(onOpen(socket));
    } catch (cause) {
      fail(new AppError('internal', 'the link could not be set up', { cause }));
    }
  });
  using _listener = onAbort(signal, () => fail(new AppError('cancelled', 'dialling was cancelled')));
  // The handshake timeout of ws only measures silence; this timer also ends a handshake with a server that sends byte
  // by byte.
  const timer = setTimeout(() => {
    fail(new AppError('link_lost', `no handshake within ${handshakeTimeoutMs} ms`));
  }, handshakeTimeoutMs);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

async function readRefusal(response: IncomingMessage): Promise<AppError> {
  let text = '';
  try {
    for await (const chunk of response) {
      text += String(chunk);
      if (text.length > maxRefusalBytes) break;
    }
  } catch {
    // The response was cut off, so the error is derived from the status alone.
  }
  return refusal(response.statusCode ?? 0, text);
}

/** @param text body of the refused response, problem+json if the agent itself refused. */
export function refusal(status: number, text: string): AppError {
  const own = parseProblem(text);
  const detail = own?.detail ?? `refused with HTTP ${status}`;
  if (own !== undefined && isErrorCode(own.code)) return new AppError(own.code, detail);
  // A proxy in front of the agent may have answered.
  if (status === 401) return new AppError('unauthenticated', detail);
  if (status === 403) return new AppError('forbidden', detail);
  return new AppError('link_lost', detail);
}

function parseProblem(text: string): z.output<typeof problem> | undefined {
  try {
    return problem.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
