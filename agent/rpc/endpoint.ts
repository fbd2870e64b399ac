/** HTTP endpoints beside the RPC on the agent's port: uploads, build contexts, webhooks. Only the leader serves them. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { toAppError, type AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { sendProblem } from '../../shared/problem.ts';
import type { Identity } from '../../shared/rpc/types.ts';
import type { Admit } from './admission.ts';

export interface HttpEndpoint {
  /** The first segment of its paths, such as `/sources`. */
  readonly path: string;
  /**
   * Answers the request. An error that it throws is sent as problem+json; the connection is closed if the body was not read.
   * @param admit checks the bearer token (@throws AppError unauthenticated, too_many_calls); endpoints that authenticate callers in another way do not call it.
   */
  handle(request: IncomingMessage, response: ServerResponse, admit: () => Identity): Promise<void>;
}

interface ServeDeps {
  readonly endpoint: HttpEndpoint;
  readonly admit: Admit;
  readonly isLeader: () => boolean;
  readonly whyNotLeader: () => AppError;
  readonly log: Log;
}

/** Has the endpoint answer the request, and answers for it if it throws. */
export async function serveEndpoint(
  { endpoint, admit, isLeader, whyNotLeader, log }: ServeDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let leave: (() => void) | undefined;
  try {
    if (!isLeader()) throw whyNotLeader();
    await endpoint.handle(request, response, () => {
      const admission = admit(request);
      ({ leave } = admission);
      return admission.identity;
    });
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code === 'internal') log.error({ err: thrown, path: endpoint.path }, 'an HTTP request failed');
    if (response.headersSent || response.destroyed) response.destroy();
    else sendProblem(response, error, request.readableEnded ? {} : { headers: { Connection: 'close' } });
  } finally {
    leave?.();
  }
}
