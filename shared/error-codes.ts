/** The table of every error code: its HTTP status, who has to act, and what to do. docs/errors.md is generated from it. */

/** Who has to act to resolve the error. */
export type ErrorOwner = 'caller' | 'app' | 'platform' | 'holdfast';

interface ErrorEntry {
  /** The HTTP status that the client gets, RFC 9110 §15. */
  readonly status: number;
  readonly owner: ErrorOwner;
  /** Set if the same call may succeed later without any change. */
  readonly retryable?: true;
  /** What the code means and what to do about it. Shown by the CLI and in docs/errors.md. */
  readonly help: string;
}

const table = {
  // The request path (router).
  route_not_found: {
    status: 404,
    owner: 'caller',
    help: 'No app has a route for this host and path. `holdfast apps` lists the routes.',
  },
  hold_full: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'Too many calls are already waiting, for this app or in total. Try again after Retry-After, or raise `hold.max_calls`.',
  },
  router_overloaded: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'This router has reached its limit for unread requests, uploads or waiting pages. Try again after Retry-After, run more routers, or raise the limit (docs/limits.md).',
  },
  hold_timeout: {
    status: 504,
    owner: 'app',
    retryable: true,
    help: 'The call waited for `hold.timeout_secs` and no version became ready. `holdfast versions NAME` shows why.',
  },
  queue_timeout: {
    status: 503,
    owner: 'app',
    retryable: true,
    help: 'The app is running at its concurrency limit, and the call waited for `hold.queue_timeout_secs` without getting a slot. Try again after Retry-After, or raise `max_concurrency`, `max_concurrency_total` or `max_replicas`.',
  },
  agent_unavailable: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'The app is not running, and no agent could be reached to start it before the hold timeout. Check that the agent is running.',
  },
  wake_budget_exhausted: {
    status: 503,
    owner: 'app',
    retryable: true,
    help: 'The app is asleep and has used up its wake budget for this hour (`wake.max_per_hour`). Try again after Retry-After. `holdfast events NAME` shows what woke it; `holdfast ensure NAME` starts it regardless.',
  },
  router_draining: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'This router is shutting down. Try again; another router will answer.',
  },
  upstream_unreachable: {
    status: 502,
    owner: 'app',
    retryable: true,
    help: 'No target of the live version accepted a connection. Check that the app listens on its configured port.',
  },
  upstream_reset: {
    status: 502,
    owner: 'app',
    retryable: true,
    help: 'The app closed the connection before it answered. It may have crashed; check `holdfast logs NAME`.',
  },
  upstream_timeout: {
    status: 504,
    owner: 'app',
    retryable: true,
    help: 'The app accepted the call but did not start to answer in time.',
  },
  upstream_protocol: { status: 502, owner: 'app', help: 'The app sent a response that is not valid HTTP.' },
  request_invalid: {
    status: 400,
    owner: 'caller',
    help: 'The request is not valid HTTP, or uses a form that is rejected for security.',
  },
  request_timeout: { status: 408, owner: 'caller', retryable: true, help: 'The request did not arrive in time.' },
  headers_too_large: { status: 431, owner: 'caller', help: 'The request headers are too large.' },

  // Making a version run (agent). The failure's `phase` says which step failed.
  version_failed: {
    status: 502,
    owner: 'app',
    help: 'The live version could not be started. `holdfast versions NAME` shows the cause and the last log lines.',
  },
  image_not_found: { status: 502, owner: 'app', help: 'The registry has no such image or tag. Check `image`.' },
  image_invalid: {
    status: 502,
    owner: 'app',
    help: 'The image name is invalid, or the image cannot run on this node.',
  },
  image_denied: {
    status: 502,
    owner: 'platform',
    help: 'The registry refused the credentials. Check `[registry]` and the image pull secrets.',
  },
  image_pull_failed: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'The node could not pull the image. The message says why.',
  },
  registry_unavailable: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'The registry could not be reached. Check `[registry]` and the network.',
  },
  app_crashed: {
    status: 502,
    owner: 'app',
    help: 'The app exited more than once before it answered. `holdfast versions NAME` shows its last log lines.',
  },
  app_not_ready: {
    status: 502,
    owner: 'app',
    help: 'The app started but did not answer on its port (or at its `health_url`) within `container.start_deadline_secs`, or listens elsewhere. The message says which.',
  },
  app_config_invalid: {
    status: 502,
    owner: 'app',
    help: 'The platform rejected the configuration of the app (command, user, volume, resources).',
  },
  unschedulable: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'No node had room for the app, even after waiting for the cluster autoscaler.',
  },
  quota_exceeded: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'A quota or limit of the apps namespace does not allow the pods.',
  },
  platform_error: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'The platform (API server or local processes) reported an unexpected error.',
  },
  platform_unavailable: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'The Kubernetes API server cannot be reached, or refuses the agent, so that no agent can lead. Running apps keep running; everything else has to wait.',
  },
  source_invalid: {
    status: 400,
    owner: 'caller',
    help: 'The source cannot be read or exceeds a limit. The message says which.',
  },
  source_unsupported: {
    status: 400,
    owner: 'caller',
    help: 'This platform cannot run this kind of source. On Kubernetes, use an `image`, a git URL or an upload (`holdfast deploy DIR`); `holdfast start` runs folders, git URLs and uploads.',
  },
  source_not_found: {
    status: 502,
    owner: 'app',
    help: 'The repository, `ref`, `dir` or upload does not exist. Check them, or run `holdfast deploy` again.',
  },
  source_denied: {
    status: 502,
    owner: 'app',
    help: 'The git server rejected the credentials, its host key is unknown, or `git_auth` is not allowed for that host.',
  },
  source_unavailable: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'The git server could not be reached, or the fetch timed out.',
  },
  upload_incomplete: {
    status: 409,
    owner: 'caller',
    retryable: true,
    help: 'Parts of the upload are missing or do not match its digest. Run `holdfast deploy` again; it sends only the missing parts.',
  },
  webhook_denied: {
    status: 401,
    owner: 'caller',
    help: 'The signature of the webhook is missing or wrong. Configure the git server with the secret in `[source] webhook_secret_file`.',
  },

  // Building the image of a source (agent).
  dockerfile_invalid: {
    status: 502,
    owner: 'app',
    help: 'The source has no Dockerfile and matches no preset, or its Dockerfile cannot be parsed. `holdfast init` writes one.',
  },
  build_failed: {
    status: 502,
    owner: 'app',
    help: 'A step of the Dockerfile failed; the message names it. `holdfast logs NAME --build` shows the last lines of the build.',
  },
  base_image_not_found: {
    status: 502,
    owner: 'app',
    help: 'An image in a `FROM` line of the Dockerfile does not exist, or cannot be pulled with the configured credentials.',
  },
  push_denied: {
    status: 502,
    owner: 'platform',
    help: 'The registry rejected the push. Check `[registry]`; its user needs permission to push to `project`.',
  },
  build_out_of_memory: {
    status: 502,
    owner: 'app',
    help: 'The build ran out of memory. Raise `[builder] memory`, or make the build use less.',
  },
  build_timeout: { status: 502, owner: 'app', help: 'The build did not finish within `[builder] timeout_secs`.' },
  builder_unavailable: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'The builder could not be reached, ended without a result, or is not configured (`[builder] mode`).',
  },
  build_queue_full: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'Too many builds are already queued. Try again later, or raise `[builder] max_concurrent_builds`.',
  },
  build_not_found: { status: 404, owner: 'caller', help: 'No image has been built for this app or version.' },
  superseded: {
    status: 503,
    owner: 'holdfast',
    retryable: true,
    help: 'A newer version became live while this one was starting.',
  },

  // Declaring apps.
  app_invalid: {
    status: 400,
    owner: 'caller',
    help: 'The declaration of the app has an unknown key, a wrong type or a value out of range.',
  },
  app_not_found: { status: 404, owner: 'caller', help: 'No app has this name. `holdfast apps` lists the apps.' },
  version_not_found: {
    status: 404,
    owner: 'caller',
    help: 'The app has no such version. `holdfast versions NAME` lists them.',
  },
  route_conflict: { status: 409, owner: 'caller', help: 'Another app has this host and path.' },

  // RPC.
  parse_error: { status: 400, owner: 'caller', help: 'The frame is not JSON.' },
  invalid_request: { status: 400, owner: 'caller', help: 'The frame is not a JSON-RPC 2.0 message.' },
  method_not_found: { status: 404, owner: 'caller', help: 'No such method. `rpc.discover` lists them.' },
  invalid_params: {
    status: 400,
    owner: 'caller',
    help: 'The parameters do not match the schema of the method. The message names the first mismatch.',
  },
  unauthenticated: {
    status: 401,
    owner: 'caller',
    help: 'The token is missing or unknown. Send `Authorization: Bearer …`.',
  },
  forbidden: { status: 403, owner: 'caller', help: 'The token does not have the scope that the method requires.' },
  misdirected: {
    status: 421,
    owner: 'caller',
    help: 'The agent is for programs of its machine. Use its address, or name the host of a proxy in [system] reserved_hosts.',
  },
  not_leader: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'This agent is a standby. Reconnect; the Service routes to the leader.',
  },
  too_many_calls: {
    status: 429,
    owner: 'caller',
    retryable: true,
    help: 'Too many calls are in flight on this connection. Wait for some of them to finish.',
  },
  frame_too_large: { status: 413, owner: 'caller', help: 'The frame exceeds the size limit.' },
  send_buffer_full: {
    status: 503,
    owner: 'caller',
    retryable: true,
    help: 'The peer read too slowly, so the connection was closed.',
  },
  deadline_exceeded: {
    status: 504,
    owner: 'holdfast',
    retryable: true,
    help: 'The call did not finish before its deadline.',
  },
  cancelled: { status: 499, owner: 'caller', retryable: true, help: 'The caller cancelled the call.' },
  link_lost: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'The connection was lost before the answer arrived.',
  },
  internal: {
    status: 500,
    owner: 'holdfast',
    retryable: true,
    help: 'A bug in Holdfast. The log of the component has the details, under the same code.',
  },

  // The agent itself.
  store_unavailable: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'Postgres cannot be reached. Running apps keep running; declaring apps and reading history have to wait.',
  },
  fenced: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'Another agent became the leader, so this one may no longer write.',
  },
  config_invalid: {
    status: 500,
    owner: 'platform',
    help: 'The configuration has an unknown key, a wrong type or an invalid combination. The message names the key and the line.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof table;

export const errorTable: Readonly<Record<ErrorCode, ErrorEntry>> = table;

export function isErrorCode(value: string): value is ErrorCode {
  return Object.hasOwn(table, value);
}
