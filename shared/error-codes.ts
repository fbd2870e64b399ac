/** The table of every error code: its HTTP status, who has to act, and what to do. docs/errors.md is generated from it. */

/** Who has to act so that the error goes away. */
export type ErrorOwner = 'caller' | 'app' | 'platform' | 'holdfast';

interface ErrorEntry {
  /** HTTP status a caller sees, RFC 9110 §15. */
  readonly status: number;
  readonly owner: ErrorOwner;
  /** Whether the same call may succeed later without anything being changed. */
  readonly retryable: boolean;
  /** What it means and what to do, for docs/errors.md. */
  readonly help: string;
}

export const errorTable = {
  // The request path (router).
  route_not_found: {
    status: 404,
    owner: 'caller',
    retryable: false,
    help: 'No app has this host and path. Look at `holdfast apps`.',
  },
  hold_full: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'Too many calls already wait for this app, or in all. Try again after Retry-After, or raise `hold.max_calls`.',
  },
  router_overloaded: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'This router has reached its limit of unread requests, uploads or waiting pages. Try again after Retry-After; run more routers, or raise the limit (docs/limits.md).',
  },
  hold_timeout: {
    status: 504,
    owner: 'app',
    retryable: true,
    help: 'The call waited its whole `hold.timeout_secs` and no version answered. Look at `holdfast versions NAME`.',
  },
  queue_timeout: {
    status: 503,
    owner: 'app',
    retryable: true,
    help: 'The app runs, and has as many calls as it takes; the call waited its `hold.queue_timeout_secs` for room. Try again after Retry-After; raise `max_concurrency`, `max_concurrency_total` or `max_replicas`.',
  },
  agent_unavailable: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'The app is not running and no agent could be reached to start it within the hold deadline. Look at the agent.',
  },
  wake_budget_exhausted: {
    status: 503,
    owner: 'app',
    retryable: true,
    help: 'The app is asleep and was woken as often within an hour as `wake.max_per_hour` allows. Try again after Retry-After; `holdfast events NAME` says who woke it, `holdfast ensure NAME` starts it all the same.',
  },
  router_draining: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'This router is shutting down. Try again: another one answers.',
  },
  upstream_unreachable: {
    status: 502,
    owner: 'app',
    retryable: true,
    help: 'No target of the live version accepted a connection.',
  },
  upstream_reset: {
    status: 502,
    owner: 'app',
    retryable: true,
    help: 'The app closed the connection before it answered. It may have crashed: look at `holdfast logs NAME`.',
  },
  upstream_timeout: {
    status: 504,
    owner: 'app',
    retryable: true,
    help: 'The app accepted the call and did not begin its answer in time.',
  },
  upstream_protocol: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The app answered with something that is not valid HTTP.',
  },
  request_invalid: {
    status: 400,
    owner: 'caller',
    retryable: false,
    help: 'The request is not valid HTTP, or has a form that is refused for safety.',
  },
  request_timeout: {
    status: 408,
    owner: 'caller',
    retryable: true,
    help: 'The request did not arrive in full in time.',
  },
  headers_too_large: { status: 431, owner: 'caller', retryable: false, help: 'The header section is over the limit.' },

  // Making a version run (agent). The `phase` of the failure says where.
  version_failed: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The live version could not be made to run. `holdfast versions NAME` has the cause and the last log lines.',
  },
  image_not_found: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The registry has no such image or tag. Check `image`.',
  },
  image_invalid: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The image name is not valid, or the image cannot run on this node.',
  },
  image_denied: {
    status: 502,
    owner: 'platform',
    retryable: false,
    help: 'The registry refused the credentials. Check `[registry]` and the image pull secrets.',
  },
  image_pull_failed: { status: 502, owner: 'platform', retryable: true, help: 'The node could not pull the image.' },
  registry_unavailable: { status: 502, owner: 'platform', retryable: true, help: 'The registry cannot be reached.' },
  app_crashed: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The app exited before it answered, more than once. Its last log lines are kept with the version.',
  },
  app_not_ready: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The app started but did not answer on its port (and `health_url`) within `container.start_deadline_secs`.',
  },
  app_config_invalid: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The platform refused the app as configured (command, user, volume, resources).',
  },
  unschedulable: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'No node has room for the app within the grace for autoscalers.',
  },
  quota_exceeded: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'A quota or limit of the apps namespace forbids the pods.',
  },
  platform_error: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'The platform (API server, process table) answered with an unexpected error.',
  },
  source_invalid: {
    status: 400,
    owner: 'caller',
    retryable: false,
    help: 'The source cannot be read or is over a limit.',
  },
  source_unsupported: {
    status: 400,
    owner: 'caller',
    retryable: false,
    help: 'This platform cannot run that kind of source. Kubernetes apps name an `image`, a git URL or an upload (`holdfast deploy DIR`); the embedded default runs folders, git URLs and uploads.',
  },
  source_not_found: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The repository, `ref`, `dir` or upload does not exist (any more). Check them, or run `holdfast deploy` again.',
  },
  source_denied: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The git server refused the credentials, its host key is not known, or `git_auth` may not be used for that host.',
  },
  source_unavailable: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'The git server could not be reached, or the fetch did not end in time.',
  },
  upload_incomplete: {
    status: 409,
    owner: 'caller',
    retryable: true,
    help: 'Parts of the upload are missing or do not match its digest. Run `holdfast deploy` again: it sends only what is missing.',
  },
  webhook_denied: {
    status: 401,
    owner: 'caller',
    retryable: false,
    help: 'The signature of the webhook is missing or wrong. Give the git server the same secret as `[source] webhook_secret_file`.',
  },

  // Building the image of a source (agent).
  dockerfile_invalid: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The source has no Dockerfile and no preset fits it, or the Dockerfile cannot be parsed. `holdfast init` writes one.',
  },
  build_failed: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'A step of the Dockerfile failed; the message names it. `holdfast logs NAME --build` has the last lines.',
  },
  base_image_not_found: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'An image that the Dockerfile builds FROM does not exist or cannot be pulled with the credentials at hand.',
  },
  push_denied: {
    status: 502,
    owner: 'platform',
    retryable: false,
    help: 'The registry refused the push. Check `[registry]`: its user needs to push to `project`.',
  },
  build_out_of_memory: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The build was ended for its memory. Raise `[builder] memory`, or let the build need less.',
  },
  build_timeout: {
    status: 502,
    owner: 'app',
    retryable: false,
    help: 'The build did not end within `[builder] timeout_secs`.',
  },
  builder_unavailable: {
    status: 502,
    owner: 'platform',
    retryable: true,
    help: 'The builder could not be reached, ended without a verdict, or no builder is configured (`[builder] mode`).',
  },
  build_queue_full: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'Too many builds wait already. Try again later, or raise `[builder] max_concurrent_builds`.',
  },
  build_not_found: {
    status: 404,
    owner: 'caller',
    retryable: false,
    help: 'No image was built for this app or version.',
  },
  superseded: {
    status: 503,
    owner: 'holdfast',
    retryable: true,
    help: 'A newer version became live while this one was being started.',
  },

  // Declaring apps.
  app_invalid: {
    status: 400,
    owner: 'caller',
    retryable: false,
    help: 'The app as declared has an unknown key, a wrong type or a value out of range.',
  },
  app_not_found: { status: 404, owner: 'caller', retryable: false, help: 'No app has this name.' },
  version_not_found: { status: 404, owner: 'caller', retryable: false, help: 'The app has no such version.' },
  route_conflict: {
    status: 409,
    owner: 'caller',
    retryable: false,
    help: 'Another app already has this host and path.',
  },

  // RPC.
  parse_error: { status: 400, owner: 'caller', retryable: false, help: 'The frame is not JSON.' },
  invalid_request: { status: 400, owner: 'caller', retryable: false, help: 'The frame is not a JSON-RPC 2.0 message.' },
  method_not_found: {
    status: 404,
    owner: 'caller',
    retryable: false,
    help: 'No such method. `rpc.discover` lists them.',
  },
  invalid_params: {
    status: 400,
    owner: 'caller',
    retryable: false,
    help: 'The parameters do not match the schema of the method.',
  },
  unauthenticated: {
    status: 401,
    owner: 'caller',
    retryable: false,
    help: 'No token, or an unknown one. Send `Authorization: Bearer …`.',
  },
  forbidden: {
    status: 403,
    owner: 'caller',
    retryable: false,
    help: 'The token does not have the scope the method needs.',
  },
  not_leader: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'This agent is a standby. Connect again: the Service leads to the leader.',
  },
  too_many_calls: {
    status: 429,
    owner: 'caller',
    retryable: true,
    help: 'Too many calls in flight on this connection.',
  },
  frame_too_large: { status: 413, owner: 'caller', retryable: false, help: 'The frame is over the limit.' },
  send_buffer_full: {
    status: 503,
    owner: 'caller',
    retryable: true,
    help: 'The peer reads too slowly; the link was closed.',
  },
  deadline_exceeded: {
    status: 504,
    owner: 'holdfast',
    retryable: true,
    help: 'The call did not end within its deadline.',
  },
  cancelled: { status: 499, owner: 'caller', retryable: true, help: 'The caller cancelled.' },
  link_lost: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'The connection to the other side was lost before the answer.',
  },
  internal: {
    status: 500,
    owner: 'holdfast',
    retryable: true,
    help: 'A fault of Holdfast. The log of the component has it under the same code.',
  },

  // The agent's own ground.
  store_unavailable: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'Postgres cannot be reached. Running apps go on; declaring and listing from history wait for it.',
  },
  fenced: {
    status: 503,
    owner: 'platform',
    retryable: true,
    help: 'Another agent became leader; this one may not write any more.',
  },
  config_invalid: {
    status: 500,
    owner: 'platform',
    retryable: false,
    help: 'The configuration has an unknown key, a wrong type or a refused combination; the message names key and line.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;

export function isErrorCode(value: string): value is ErrorCode {
  return Object.hasOwn(errorTable, value);
}
