/** HTTP endpoints beside the RPC on the agent's port: uploads, build contexts, webhooks. Only the leader serves them. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Identity } from '../../shared/rpc/types.ts';

export interface HttpEndpoint {
  /** The first segment of its paths, such as `/sources`. */
  readonly path: string;
  /**
   * Answers the request. An error that it throws is sent as problem+json; the connection is closed if the body was not read.
   * @param admit checks the bearer token (@throws AppError unauthenticated, too_many_calls); endpoints that authenticate callers in another way do not call it.
   */
  handle(request: IncomingMessage, response: ServerResponse, admit: () => Identity): Promise<void>;
}
