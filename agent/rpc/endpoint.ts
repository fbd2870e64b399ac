/** HTTP beside the RPC on the agent's port: uploads, build contexts, webhooks. Served by the leader only. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Identity } from '../../shared/rpc/types.ts';

export interface HttpEndpoint {
  /** First segment of its paths: `/sources`. */
  readonly path: string;
  /**
   * Answers the request, whatever it is; what it throws is answered as problem+json, and closes the connection where the body is unread.
   * @param admit checks the bearer token (@throws AppError unauthenticated, too_many_calls); endpoints that prove their callers otherwise do not call it.
   */
  handle(request: IncomingMessage, response: ServerResponse, admit: () => Identity): Promise<void>;
}
