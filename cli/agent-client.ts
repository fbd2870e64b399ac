/** The agent as commands see it: typed calls, each with a deadline and ended by Ctrl-C. */
import { type AgentMethods, type ParamsInputOf, type ResultOf, agentMethods } from '../shared/protocol/methods.ts';
import { callByHttp } from '../shared/rpc/http-call.ts';
import type { CallOptions } from '../shared/rpc/types.ts';
import type { AgentEndpoint } from './endpoint.ts';

export interface AgentClient {
  /** @throws AppError of the agent, or link_lost, deadline_exceeded, cancelled. */
  call<K extends keyof AgentMethods>(
    method: K,
    params: ParamsInputOf<AgentMethods[K]>,
    options: CallOptions<AgentMethods[K]> & { readonly signal: AbortSignal; readonly deadlineMs: number },
  ): Promise<ResultOf<AgentMethods[K]>>;
}

export type ConnectAgent = (endpoint: AgentEndpoint) => AgentClient;

export const connectAgent: ConnectAgent = ({ url, token }) => ({
  call: (method, params, options) => callByHttp({ url, token, methods: agentMethods }, method, params, options),
});
