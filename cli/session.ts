/** What a command uses to talk to the agent and to print its result and its progress. */
import type { Command } from 'commander';
import type { AgentMethods, ParamsInputOf, ResultOf } from '../shared/protocol/methods.ts';
import type { CallOptions } from '../shared/rpc/types.ts';
import type { CliContext } from './context.ts';
import { findEndpoint } from './endpoint.ts';
import { plain } from './text.ts';

/** The options of all commands. */
interface GlobalOptions {
  readonly agent?: string;
  readonly tokenFile?: string;
  readonly output: 'table' | 'json';
  /** Seconds. */
  readonly timeout?: number;
}

export interface Session {
  readonly context: CliContext;
  readonly isJson: boolean;
  /** Calls the agent. `--timeout` overrides `deadlineMs`. */
  call<K extends keyof AgentMethods>(
    method: K,
    params: ParamsInputOf<AgentMethods[K]>,
    /** Ctrl-C ends the call, or if there is a `signal`, only that does. */
    options?: CallOptions<AgentMethods[K]>,
  ): Promise<ResultOf<AgentMethods[K]>>;
  /** Prints the result, either as the JSON that the agent returned or as text. */
  show<T>(result: T, asText: (result: T) => string): void;
  /** Prints a line of progress on standard error. */
  progress(message: string): void;
}

const defaultDeadlineMs = 30_000;

export function openSession(context: CliContext, command: Command): Session {
  const { agent, tokenFile, output, timeout } = command.optsWithGlobals<GlobalOptions>();
  const client = context.connect(findEndpoint(context, { agent, tokenFile }));
  const isJson = output === 'json';
  return {
    context,
    isJson,
    call(method, params, options = {}) {
      const deadlineMs = timeout === undefined ? (options.deadlineMs ?? defaultDeadlineMs) : timeout * 1_000;
      return client.call(method, params, { ...options, signal: options.signal ?? context.interrupted, deadlineMs });
    },
    show(result, asText) {
      const text = isJson ? JSON.stringify(result, null, 2) : asText(result);
      if (text !== '') context.stdout.write(`${text}\n`);
    },
    progress(message) {
      context.stderr.write(`${plain(message)}\n`);
    },
  };
}
