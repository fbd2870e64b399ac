/**
 * The one way to the API server: JSON requests with a deadline and a signal, and lines that stream (watches, logs).
 * Streams never take a connection from requests; no retries here, those belong to who knows what may be repeated.
 */
import { request, type Dispatcher } from 'undici';
import { AppError } from '../../shared/errors.ts';
import type { KubeAccess, TlsOptions } from './access.ts';
import { createPools } from './pools.ts';

export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As in `/api/v1/namespaces/apps/pods`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
}

export interface KubeApi {
  /** @throws KubeApiError for every answer but 2xx; AppError platform_error where no answer came; cancelled by signal. */
  request<T>(options: KubeRequest): Promise<T>;
  /**
   * Lines of a long answer, each cut at `maxLineBytes`. Ends with the answer; throws as `request` does.
   * @param options.timeoutMs until the head of the answer; afterwards only `idleMs` without any byte ends it, silently.
   */
  lines(options: KubeRequest & { readonly idleMs?: number; readonly maxLineBytes: number }): AsyncGenerator<string>;
  close(): Promise<void>;
}

/** What the API server says when it refuses: a `Status` object. */
export class KubeApiError extends Error {
  override readonly name = 'KubeApiError';
  readonly status: number;
  /** As in `NotFound`, `AlreadyExists`, `Conflict`, `Forbidden`, `Invalid`, `Expired`. */
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export function isStatus(error: unknown, ...statuses: readonly number[]): boolean {
  return error instanceof KubeApiError && statuses.includes(error.status);
}

const requestTimeoutMs = 10_000;
const maxBodyBytes = 64 * 1024 * 1024;
const userAgent = 'holdfast-agent';

/** Enough for many apps that wake at once, and few for an API server. */
const defaultMaxRequests = 16;

export function createKubeApi(deps: {
  readonly access: KubeAccess;
  /** Connections for requests; streams have their own. */
  readonly maxRequests?: number;
}): KubeApi {
  const { access, maxRequests = defaultMaxRequests } = deps;
  const pools = createPools({ maxRequests });

  async function send(options: KubeRequest, headDeadline: AbortSignal, pool: (tls: TlsOptions) => Dispatcher) {
    const { headers, tls } = await access.credentials();
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const search = query.size === 0 ? '' : `?${query.toString()}`;
    const signal = AbortSignal.any([options.signal, headDeadline]);
    const answer = request(`${access.server}${options.path}${search}`, {
      dispatcher: pool(tls),
      method: options.method,
      headers: {
        ...headers,
        accept: 'application/json',
        'user-agent': userAgent,
        ...(options.body === undefined ? {} : { 'content-type': options.contentType ?? 'application/json' }),
      },
      body: options.body === undefined ? null : JSON.stringify(options.body),
      signal,
    });
    return await orAborted(answer, signal);
  }

  return {
    async request<T>(options: KubeRequest): Promise<T> {
      const deadline = AbortSignal.timeout(Math.ceil(options.timeoutMs ?? requestTimeoutMs));
      try {
        const response = await send(options, deadline, (tls) => pools.requests(tls));
        const text = await readAll(response.body, maxBodyBytes);
        pools.answered(true);
        if (response.statusCode >= 300) throw refusal(response.statusCode, text);
        return JSON.parse(text) as T;
      } catch (error) {
        if (deadline.aborted && !options.signal.aborted) pools.answered(false);
        throw described(error, options);
      }
    },

    async *lines(options) {
      const head = new AbortController();
      const headTimer = setTimeout(() => {
        head.abort(new AppError('platform_error', 'no answer in time'));
      }, options.timeoutMs ?? requestTimeoutMs);
      let idleTimer: NodeJS.Timeout | undefined;
      let silent = false;
      try {
        const response = await send(options, head.signal, (tls) => pools.streams(tls));
        clearTimeout(headTimer);
        if (response.statusCode >= 300) {
          throw refusal(response.statusCode, await readAll(response.body, maxBodyBytes));
        }
        const { idleMs } = options;
        if (idleMs !== undefined) {
          idleTimer = setTimeout(() => {
            silent = true;
            head.abort();
          }, idleMs);
        }
        for await (const line of splitLines(response.body, options.maxLineBytes)) {
          idleTimer?.refresh();
          yield line;
        }
      } catch (error) {
        if (silent && !options.signal.aborted) return;
        throw described(error, options);
      } finally {
        clearTimeout(headTimer);
        clearTimeout(idleTimer);
      }
    },

    async close() {
      await pools.close();
    },
  };
}

/** undici looks at the signal of a request that waits for a connection only when it gets one. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function refusal(status: number, text: string): KubeApiError {
  let reason = '';
  let message = text.slice(0, 1_000);
  try {
    const parsed = JSON.parse(text) as { readonly reason?: string; readonly message?: string };
    reason = parsed.reason ?? '';
    message = parsed.message ?? message;
  } catch {
    // Not a Status object: a proxy before the API server, whose text says what there is.
  }
  return new KubeApiError(status, reason, message === '' ? `status ${String(status)}` : message);
}

function described(error: unknown, options: KubeRequest): Error {
  if (error instanceof KubeApiError || error instanceof AppError) return error;
  if (options.signal.aborted) return new AppError('cancelled', 'the request was cancelled', { cause: error });
  const message = error instanceof Error ? error.message : String(error);
  return new AppError('platform_error', `the API server cannot be reached: ${message}`, { cause: error });
}

async function readAll(body: AsyncIterable<Buffer>, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new AppError('platform_error', 'the answer of the API server is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Lines without their end; what a line has beyond `maxBytes` is dropped, so that a line never costs more memory. */
async function* splitLines(body: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  let bytes = 0;
  const keep = (part: Buffer): void => {
    const room = maxBytes - bytes;
    if (room <= 0 || part.length === 0) return;
    // A copy of the cut, lest a small rest keeps a large chunk alive.
    parts.push(part.length > room ? Buffer.from(part.subarray(0, room)) : part);
    bytes += Math.min(part.length, room);
  };
  const take = (): string => {
    const line = Buffer.concat(parts).toString('utf8');
    parts = [];
    bytes = 0;
    return line;
  };
  for await (const chunk of body) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      keep(chunk.subarray(from, end));
      yield take();
      from = end + 1;
    }
    keep(chunk.subarray(from));
  }
  if (bytes > 0) yield take();
}
