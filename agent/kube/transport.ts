/**
 * Sends what client-node has prepared: whole answers with a deadline and a bound, and lines that stream (watches, logs).
 * Streams never take a connection from requests.
 */
import { HttpMethod, RequestContext, ResponseContext } from '@kubernetes/client-node';
import { request, type Dispatcher } from 'undici';
import { AppError } from '../../shared/errors.ts';
import { readBoundedText } from '../../shared/net/read-bounded.ts';
import { textLines } from '../../shared/net/text-lines.ts';
import { deadlineSignal, onAbort, untilAborted } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { ClusterConfig } from './cluster-config.ts';
import { described, KubeApiError, refusal } from './errors.ts';
import { createPools } from './pools.ts';

export interface Call {
  readonly signal: AbortSignal;
  /** Bound of the whole answer; of a stream, bound until it begins. */
  readonly timeoutMs?: number;
}

export interface StreamCall extends Call {
  /** After this silence the stream ends without an error: its connection may be dead. */
  readonly idleMs?: number;
  /** The rest of a longer line is dropped. */
  readonly maxLineBytes: number;
}

/** Values that are undefined are left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

const defaultTimeoutMs = 10_000;
const maxBodyBytes = 64 * 1024 * 1024;
const userAgent = 'holdfast-agent';

export function createTransport(deps: {
  readonly config: ClusterConfig;
  /** Connections for requests; streams have their own. */
  readonly maxRequests: number;
  readonly clock: Clock;
}) {
  const { config, maxRequests, clock } = deps;
  const pools = createPools({ maxRequests });

  async function send(context: RequestContext, signal: AbortSignal, dispatcher: Dispatcher) {
    const body = context.getBody();
    const response = await request(context.getUrl(), {
      dispatcher,
      method: context.getHttpMethod(),
      headers: { accept: 'application/json', ...context.getHeaders(), 'user-agent': userAgent },
      body: typeof body === 'string' ? body : null,
      signal,
    });
    if (response.statusCode >= 300) throw refusal(response.statusCode, await bodyOf(response));
    return response;
  }

  async function sendWhole(context: RequestContext, signal: AbortSignal): Promise<ResponseContext> {
    const response = await send(context, signal, pools.requests(config.connection));
    const text = await bodyOf(response);
    return new ResponseContext(
      response.statusCode,
      {},
      {
        text: () => Promise.resolve(text),
        binary: () => Promise.resolve(Buffer.from(text)),
        stream: () => null,
      },
    );
  }

  return {
    /**
     * Runs a request of client-node within the deadline of the call; `send` is what it is sent by.
     * @throws KubeApiError for every answer but 2xx; AppError platform_error when no answer came, cancelled by the signal.
     */
    async within<T>(
      call: Call,
      ask: (send: (context: RequestContext) => Promise<ResponseContext>) => Promise<T>,
    ): Promise<T> {
      const { signal, timeoutMs = defaultTimeoutMs } = call;
      using deadline = deadlineSignal({ clock, ms: Math.ceil(timeoutMs), signal, reason: () => noAnswer(timeoutMs) });
      try {
        // undici looks at the signal of a request that waits for a connection only when there is one.
        const answer = await untilAborted(
          ask((context) => sendWhole(context, deadline.signal)),
          deadline.signal,
        );
        pools.answered(true);
        return answer;
      } catch (error) {
        if (deadline.expired) pools.answered(false);
        else if (error instanceof KubeApiError) pools.answered(true);
        throw described(error, signal);
      }
    },

    /** Lines of a long answer. Ends with the answer; throws as `within` does. */
    async *lines(
      path: string,
      query: Query,
      { signal, timeoutMs = defaultTimeoutMs, idleMs, maxLineBytes }: StreamCall,
    ): AsyncGenerator<string> {
      const context = new RequestContext(config.server + path, HttpMethod.GET);
      for (const [name, value] of Object.entries(query)) {
        if (value !== undefined) context.setQueryParam(name, String(value));
      }
      const stream = new AbortController();
      let silent = false;
      let stopTimer = clock.after(Math.ceil(timeoutMs), () => stream.abort(noAnswer(timeoutMs)));
      const expectMore = (): void => {
        stopTimer();
        if (idleMs === undefined) return;
        stopTimer = clock.after(idleMs, () => {
          silent = true;
          stream.abort();
        });
      };
      try {
        using _listener = onAbort(signal, () => stream.abort(signal.reason));
        const opening = config
          .applySecurityAuthentication(context)
          .then(() => send(context, stream.signal, pools.streams(config.connection)));
        const { body } = await untilAborted(opening, stream.signal);
        expectMore();
        for await (const line of textLines(body, maxLineBytes, { progressBars: false })) {
          expectMore();
          yield line;
        }
      } catch (error) {
        if (silent && !signal.aborted) return;
        throw described(error, signal);
      } finally {
        stopTimer();
      }
    },

    close: () => pools.close(),
  };
}

function noAnswer(timeoutMs: number): AppError {
  return new AppError('platform_error', `the API server has not answered within ${String(timeoutMs)} ms`);
}

async function bodyOf({ body }: Dispatcher.ResponseData): Promise<string> {
  return await readBoundedText(body, {
    maxBytes: maxBodyBytes,
    what: 'the answer of the API server',
    tooLarge: (message) => new AppError('platform_error', message),
  });
}
