/** One call by HTTP POST: what a command line needs, without a link to keep. */
import type { MethodTable, ParamsInputOf, ResultOf } from '../protocol/methods.ts';
import type { CallOptions } from './types.ts';

export interface HttpCallOptions<M extends MethodTable> {
  /** `http(s)://host:port`; the endpoint is at `/rpc` of it. */
  readonly url: string;
  readonly token: string;
  /** Methods of the other side: results and items are checked against it. */
  readonly methods: M;
}

/** @throws AppError of the other side's code, or link_lost (not reached, or lost before the answer), deadline_exceeded, cancelled. */
export function callByHttp<M extends MethodTable, K extends keyof M & string>(
  endpoint: HttpCallOptions<M>,
  method: K,
  params: ParamsInputOf<M[K]>,
  options: CallOptions<M[K]> = {},
): Promise<ResultOf<M[K]>> {
  return Promise.reject(new Error(`being built: ${endpoint.url} ${method} ${typeof params} ${options.deadlineMs}`));
}
