/** The configuration of the router: the keys of `[router]`, and the token, which may come from a file. */
import { hostname } from 'node:os';
import { z } from 'zod';
import { decimal, integer } from '../shared/number-keys.ts';
import { loadConfig } from '../shared/config/load.ts';
import {
  type ConfigSource,
  listenHost,
  logLevel,
  type OpenSource,
  openSource,
  port,
  readToken,
  readTokenFile,
  tokenValue,
} from '../shared/config/sections.ts';
import { tlsConfig } from './client/tls/config.ts';
import { http2Keys } from './client/h2-config.ts';

const cidr = z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()], 'must be an address or a CIDR such as 10.0.0.0/8');

const fieldPattern = z
  .string()
  .max(100)
  .transform((value) => value.toLowerCase())
  .pipe(z.string().regex(/^[a-z0-9][a-z0-9.-]*\*?$/, 'must be the name of a field, or the beginning of names and `*`'));

/** Schema of the file as it is written; `loadRouterConfig` returns what the router uses. */
export const routerConfig = z.strictObject({
  router: z
    .strictObject({
      listen_host: listenHost.default('0.0.0.0').describe('Address on which the router and its admin server listen.'),
      listen_port: port.default(8080).describe('Port for calls.'),
      admin_port: port.default(8081).describe('Port of `/livez`, `/readyz`, `/metrics` and `/debug/targets`.'),
      workers: integer([0, 64], 1).describe(
        'Number of processes that take calls on the shared ports; 0 starts one for each core. The limits of the router and of apps are divided among them.',
      ),
      name: z.string().min(1).max(253).optional().describe('Unique name of this router. Defaults to the host name.'),
      agent_url: z
        .url({ protocol: /^https?$/, error: 'must be http://host:port or https://host:port' })
        .default('http://127.0.0.1:7400')
        .describe('URL of the RPC server of the agent.'),
      token: tokenValue.optional().describe('Token with the scope `router`. Prefer token_file.'),
      token_file: z.string().min(1).optional().describe('File that contains the token.'),
      on_agent_loss: z
        .enum(['serve', 'hold'])
        .default('serve')
        .describe(
          'What to do when the agent has been silent for lease_secs: `serve` keeps forwarding by the last known routes, so that an older version may answer; `hold` holds calls until the agent is back.',
        ),
      lease_secs: decimal([1, 300], 10).describe(
        'Seconds of silence after which the agent counts as lost. Must equal router_lease_secs of the agent.',
      ),
      hold_max_calls: integer([0, 1_000_000], 0).describe(
        'Maximum number of calls held by this router, for all apps together. 0 means 10,000, plus 50 for each MiB of container memory above 256 MiB per worker.',
      ),
      max_header_bytes: integer([1_024, 1_048_576], 32_768).describe(
        'Maximum size of the head of a request or an answer, cookies included, in bytes.',
      ),
      max_header_fields: integer([8, 10_000], 256).describe('Maximum number of fields in a header or trailer section.'),
      max_trailer_bytes: integer([256, 1_048_576], 8_192).describe('Maximum size of a trailer section, in bytes.'),
      max_connections: integer([0, 10_000_000], 0).describe(
        'Maximum number of client connections; one with TLS counts as 14, and HTTP/2 adds eight. When the limit is reached, connections that have been idle for two seconds are closed to make room; if there are none, new connections are refused. 0 means 10,500, plus 50 for each MiB of container memory above 256 MiB per worker.',
      ),
      max_connections_per_client: integer([0, 1_000_000], 0).describe(
        'Maximum number of connections from one client address (for IPv6, from one /64); further ones are refused. 0 means no limit, which a load balancer that hides client addresses requires. Trusted proxies have no limit.',
      ),
      read_ahead_max_bytes: integer([65_536, 68_719_476_736], 25_165_824).describe(
        'Maximum number of bytes read ahead from all clients: large and incomplete heads, and what follows the head of a held call. Above it, calls that would be held and calls with large heads get 503.',
      ),
      stream_buffer_bytes: integer([1_024, 16_777_216], 65_536).describe(
        'Bytes that may wait for a slow reader, for each stream and direction, before the router pauses the other side.',
      ),
      max_waiting_streams: integer([0, 100_000], 1_000).describe(
        'Maximum number of waiting pages that follow the progress of their app live; further ones poll every few seconds.',
      ),
      stream_buffers_max_bytes: integer([1_048_576, 68_719_476_736], 16_777_216).describe(
        'Bytes that may wait for slow readers, for all streams together. As this fills, each stream may have less; when it is full, the streams that have been behind for longest are cut off.',
      ),
      max_upstream_sockets: integer([1, 60_000], 1_000).describe(
        'Maximum number of sockets in use to one target; further calls are held. At most half of them serve calls whose request body is still arriving; further such calls get 503.',
      ),
      max_idle_upstream_sockets: integer([0, 60_000], 256).describe(
        'Maximum number of idle sockets kept for one target.',
      ),
      trusted_proxies: z
        .array(cidr)
        .max(256)
        .default([])
        .describe(
          'Addresses or CIDRs of proxies whose `X-Forwarded-*`, `Forwarded`, `X-Request-Id` and `traceparent` fields are trusted. Chains of addresses are trusted from their end to the first address that is not such a proxy.',
        ),
      drop_client_fields: z
        .array(fieldPattern)
        .max(256)
        .default([])
        .describe(
          'Further fields that only `trusted_proxies` may send: names or, with `*` at the end, families of names. Fields that tell apps who calls (`X-Forwarded-*`, `X-Auth-Request-*`, `Remote-*`, `X-Original-*`, `CF-*`, …; docs/app-file.md) are dropped from other clients anyway.',
        ),
      pass_client_fields: z
        .array(fieldPattern)
        .max(256)
        .default([])
        .describe(
          'Fields that tell apps who calls which every client may send all the same: names or families of names.',
        ),
      drain_delay_secs: decimal([0, 300], 5).describe(
        'Seconds after SIGTERM before the router stops accepting connections, so that load balancers see that it is not ready.',
      ),
      drain_timeout_secs: decimal([0, 3_600], 30).describe(
        'Seconds after drain_delay_secs for calls, held calls and WebSockets to end. Then held calls are refused, and WebSockets are closed with 1001.',
      ),
      upstream_connect_timeout_ms: integer([1, 60_000], 2_000).describe(
        'Maximum time to connect to a target, in milliseconds.',
      ),
      upstream_headers_timeout_secs: decimal([1, 86_400], 300).describe(
        'Maximum time for an app to begin its answer, or to go on reading a request body, in seconds.',
      ),
      request_headers_timeout_secs: decimal([1, 3_600], 60).describe(
        'Maximum time for a client to send a request head, in seconds.',
      ),
      request_timeout_secs: decimal([0, 86_400], 0).describe(
        'Maximum time for a client to send its whole request body, from when the router begins to read it, in seconds; 0 means no limit for a body that keeps on arriving.',
      ),
      request_stall_timeout_secs: decimal([1, 86_400], 60).describe(
        'Maximum time between two parts of a request body that the router reads, in seconds.',
      ),
      request_min_bytes_per_sec: integer([0, 1_000_000], 500).describe(
        'Minimum rate of a request body, on average over five minutes in which the router waits for its client; 0 means no minimum. It does not apply once the answer has begun.',
      ),
      response_stall_timeout_secs: decimal([1, 86_400], 120).describe(
        'Maximum time for which a client may read nothing of its answer, in seconds; then it is cut off.',
      ),
      keep_alive_timeout_secs: decimal([1, 3_600], 75).describe(
        'Time for which an idle client connection is kept, in seconds.',
      ),
      directory: z
        .boolean()
        .default(false)
        .describe(
          'List the apps, with their states and links, on the page that browsers get where no app is. Everybody who can reach the router sees their names.',
        ),
      tls: tlsConfig,
      ...http2Keys,
      log_level: logLevel.default('info').describe('Minimum level of log lines.'),
      access_log: z
        .boolean()
        .default(false)
        .describe('Write a line for each call to standard output, whatever the log_level.'),
    })
    .refine(({ tls }) => tls.listen_port === undefined || tls.certificate.length > 0 || tls.cert_folder !== undefined, {
      message: 'needs a certificate: add [[router.tls.certificate]] or cert_folder',
      path: ['tls', 'listen_port'],
    })
    .refine(({ tls }) => !tls.redirect_http || tls.listen_port !== undefined, {
      message: 'needs tls.listen_port, the port to redirect to',
      path: ['tls', 'redirect_http'],
    })
    .refine((value) => (value.token === undefined) !== (value.token_file === undefined), {
      message: 'set exactly one of token and token_file',
      path: ['token'],
    })
    .prefault({})
    .describe('Settings of the router.'),
});

type RouterFile = z.output<typeof routerConfig>['router'];

/** The section with its token read, its name resolved, and its paths absolute. */
export type RouterConfig = Omit<RouterFile, 'token_file' | 'token' | 'name'> & {
  /** Reads the file of the token again, if it comes from one; the token of before while that cannot be used. */
  readonly token: () => string;
  readonly name: string;
};

/** @throws AppError config_invalid, which names the key of each problem, its line, and what to do. */
export function loadRouterConfig(source: ConfigSource): RouterConfig {
  const open = openSource(source);
  return loadConfig({ ...open, schema: routerConfig }, ({ router }, report) => {
    const { token_file, token, name, ...rest } = router;
    const value = readToken(open, { value: token, file: token_file }, (message) => {
      report(['router', 'token_file'], message);
    });
    const { certificate, cert_folder } = rest.tls;
    const tls = {
      ...rest.tls,
      cert_folder: cert_folder === undefined ? undefined : open.resolvePath(cert_folder),
      certificate: certificate.map(({ cert_file, key_file }) => ({
        cert_file: open.resolvePath(cert_file),
        key_file: open.resolvePath(key_file),
      })),
    };
    return { ...rest, tls, name: name ?? hostname(), token: rereadToken(open, token_file, value) };
  });
}

function rereadToken(source: OpenSource, file: string | undefined, first: string): () => string {
  let last = first;
  return () => {
    if (file !== undefined) [last = last] = readTokenFile(source, file, () => undefined);
    return last;
  };
}
