/** Makes a single call by HTTP POST, so that a command line does not have to maintain a link. */
import { request, type Dispatcher } from 'undici';
import { AppError } from '../errors.ts';
import type { MethodTable, ParamsInputOf, ResultOf } from '../protocol/methods.ts';
import { systemClock } from '../wait/clock.ts';
import { decode, encodeRequest } from './codec.ts';
import { refusal } from './dial.ts';
import { endpointUrl } from './endpoint-url.ts';
import { defaultLimits } from './limits.ts';
import { PendingCalls, type NewCall } from './pending-calls.ts';
import type { CallOptions } from './types.ts';

interface HttpEndpoint<M extends MethodTable> {
  /** The base URL, `http(s)://host:port`; the endpoint is at its `/rpc`. */
  readonly url: string;
  readonly token: string;
  /** The methods that the other side serves; results and items are validated against them. */
  readonly methods: M;
  /** The dispatcher that sends the request; by default undici's global one. */
  readonly dispatcher?: Dispatcher;
}

/**
 * @throws AppError with the other side's code, link_lost (unreachable, or lost before the answer), deadline_exceeded or
 *   cancelled.
 */
export async function callByHttp<M extends MethodTable, K extends keyof M & string>(
  endpoint: HttpEndpoint<M>,
  name: K,
  params: ParamsInputOf<M[K]>,
  options: CallOptions<M[K]> = {},
): Promise<ResultOf<M[K]>> {
  const method = endpoint.methods[name];
  if (method === undefined) throw new AppError('method_not_found', `no method ${name}`);
  const { signal, deadlineMs } = options;
  const onItem = options.onItem as NewCall['onItem'];
  // This reuses the bookkeeping of a link for a single call: deadline, cancellation, validation and exactly one
  // outcome.
  const stop = new AbortController();
  const calls = new PendingCalls({ maxPendingCalls: 1, clock: systemClock, onAbandon: () => stop.abort() });
  const { id, answer } = calls.open({ name, method, signal, deadlineMs, onItem });
  const exchange = post(endpoint, encodeRequest(id, name, params, deadlineMs), stop.signal, (line) => {
    take(calls, line);
  }).then(
    () => new AppError('link_lost', `${name}: the answer ended early`),
    (error: unknown) => (error instanceof AppError ? error : unreachable(endpoint.url, error)),
  );
  try {
    const [result] = await Promise.all([
      answer,
      exchange.then((error) => {
        calls.fail(id, error);
      }),
    ]);
    return result as ResultOf<M[K]>;
  } finally {
    stop.abort();
    await exchange;
  }
}

function take(calls: PendingCalls, line: string): void {
  const message = decode(line);
  if (message.kind === 'item') calls.item(message.id, message.item);
  else if (message.kind === 'result') calls.result(message.id, message.result);
  else if (message.kind === 'error') {
    // An error without an id rejects the request as a whole.
    if (message.id === null) throw message.error;
    calls.fail(message.id, message.error);
  } else throw new AppError('link_lost', 'the other side does not speak JSON-RPC 2.0 here');
}

/** @throws AppError if the request was refused; any error of undici. */
async function post(
  endpoint: HttpEndpoint<MethodTable>,
  body: string,
  signal: AbortSignal,
  onLine: (line: string) => void,
): Promise<void> {
  const response = await request(endpointUrl(endpoint.url, 'http'), {
    method: 'POST',
    headers: {
      authorization: `Bearer ${endpoint.token}`,
      'content-type': 'application/json',
      accept: 'application/x-ndjson, application/json',
    },
    body,
    signal,
    // A stream may stay silent for any length of time; only the caller's deadline and signal end it.
    headersTimeout: 0,
    bodyTimeout: 0,
    ...(endpoint.dispatcher !== undefined && { dispatcher: endpoint.dispatcher }),
  });
  const type = String(response.headers['content-type'] ?? '');
  if (type.startsWith('application/json') || type.startsWith('application/x-ndjson')) {
    await readLines(response.body, onLine);
    return;
  }
  const text = await response.body.text();
  throw refusal(response.statusCode, text);
}

async function readLines(body: AsyncIterable<Buffer>, onLine: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
    if (rest.length > defaultLimits.maxFrameBytes) throw new AppError('frame_too_large', 'a line is over the limit');
  }
  if (rest !== '') onLine(rest);
}

function unreachable(url: string, cause: unknown): AppError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new AppError('link_lost', `no answer from ${url}: ${message}`, { cause });
}
