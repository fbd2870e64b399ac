/** Connects commands to the agent: typed calls, each with a timeout, which Ctrl-C cancels. */
import { AppError } from '../shared/errors.ts';
import { type AgentMethods, type ParamsInputOf, type ResultOf, agentMethods } from '../shared/protocol/methods.ts';
import { callByHttp } from '../shared/rpc/http-call.ts';
import type { CallOptions } from '../shared/rpc/types.ts';
import type { AgentEndpoint } from './endpoint.ts';

export interface AgentClient {
  /** @throws AppError with the agent's code, or link_lost, deadline_exceeded, cancelled. */
  call<K extends keyof AgentMethods>(
    method: K,
    params: ParamsInputOf<AgentMethods[K]>,
    options: CallOptions<AgentMethods[K]> & { readonly signal: AbortSignal; readonly deadlineMs: number },
  ): Promise<ResultOf<AgentMethods[K]>>;
}

export type ConnectAgent = (endpoint: AgentEndpoint) => AgentClient;

export const connectAgent: ConnectAgent = ({ url, token }) => ({
  async call(method, params, options) {
    try {
      return await callByHttp({ url, token, methods: agentMethods }, method, params, options);
    } catch (error) {
      throw isOfAnotherServer(error)
        ? new AppError(
            'link_lost',
            `${url} is not the agent's RPC address (a router, an admin port or another server answers there: ${error.message}); the agent's is port 7400 by default`,
            { cause: error },
          )
        : error;
    }
  },
});

/** Whether the error shows that another server answered: a router, an admin port or a web server. */
function isOfAnotherServer(error: unknown): error is AppError {
  if (!(error instanceof AppError)) return false;
  if (error.code === 'route_not_found' || error.code.startsWith('upstream_')) return true;
  return (
    error.code === 'link_lost' &&
    /^(refused with HTTP [234]|the other side does not speak JSON-RPC)/.test(error.message)
  );
}
