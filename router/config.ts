/** The router's configuration: the keys of `[router]` and the token, which may come from a file. */
import { hostname } from 'node:os';
import { z } from 'zod';
import { loadConfig } from '../shared/config/load.ts';
import {
  type ConfigSource,
  listenHost,
  logLevel,
  openSource,
  port,
  readToken,
  tokenValue,
} from '../shared/config/sections.ts';
import { tlsConfig } from './client/tls/config.ts';
import { http2Keys } from './client/h2-config.ts';

const cidr = z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()], 'must be an address or a CIDR such as 10.0.0.0/8');

/** The file as written. `loadRouterConfig` gives what the router uses. */
export const routerConfig = z.strictObject({
  router: z
    .strictObject({
      listen_host: listenHost.default('0.0.0.0').describe('Address that calls and the admin server listen on.'),
      listen_port: port.default(8080).describe('Port of the calls.'),
      admin_port: port.default(8081).describe('Port of `/livez`, `/readyz`, `/metrics` and `/debug/targets`.'),
      workers: z
        .int()
        .min(0)
        .max(64)
        .default(1)
        .describe(
          'Processes that take calls, on shared ports; 0 is one for each core. Bounds of the router and of apps are divided among them.',
        ),
      name: z.string().min(1).max(253).optional().describe('Name of this router, unique; default: the host name.'),
      agent_url: z
        .url({ protocol: /^https?$/, error: 'must be http://host:port or https://host:port' })
        .default('http://127.0.0.1:7400')
        .describe("Where the agent's RPC is."),
      token: tokenValue.optional().describe('Token of scope `router`; better by token_file.'),
      token_file: z.string().min(1).optional().describe('File that holds the token.'),
      on_agent_loss: z
        .enum(['serve', 'hold'])
        .default('serve')
        .describe(
          'When the agent has not been heard of for lease_secs: go on with what is known (an older version may answer), or hold calls until it is back.',
        ),
      lease_secs: z
        .number()
        .min(1)
        .max(300)
        .default(10)
        .describe(
          "Silence of the agent, seconds, after which it counts as lost; the agent's router_lease_secs is the same time.",
        ),
      hold_max_calls: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(10_000)
        .describe('Calls that may wait in this router, of all apps.'),
      max_header_bytes: z
        .int()
        .min(1_024)
        .max(1_048_576)
        .default(16_384)
        .describe('Size of the header section of a call at most.'),
      max_header_fields: z
        .int()
        .min(8)
        .max(10_000)
        .default(256)
        .describe('Fields of a header or trailer section at most.'),
      max_trailer_bytes: z.int().min(256).max(1_048_576).default(8_192).describe('Size of a trailer section at most.'),
      max_connections: z
        .int()
        .min(0)
        .max(10_000_000)
        .default(0)
        .describe(
          'Connections of clients at most, one by TLS counts as 14, one of HTTP/2 as eight more; for further ones those make room that have had no call for two seconds, else they are closed as they come. 0: 10,500, and where the container has more memory than 256 MiB for each worker, 50 more for each MiB.',
        ),
      max_connections_per_client: z
        .int()
        .min(0)
        .max(1_000_000)
        .default(0)
        .describe(
          'Connections of one client address (of IPv6, of its /64) at most; further ones are closed as they come. 0 is no limit: behind a load balancer that hides addresses all clients are one. Trusted proxies have none.',
        ),
      read_ahead_max_bytes: z
        .int()
        .min(65_536)
        .max(68_719_476_736)
        .default(25_165_824)
        .describe(
          'Bytes kept of clients, of all connections: heads, where they are large or not whole, and what comes behind the head of a call that waits. Over it, calls that would wait or have large heads get 503.',
        ),
      stream_buffer_bytes: z
        .int()
        .min(1_024)
        .max(16_777_216)
        .default(65_536)
        .describe(
          'Bytes that wait for a slow reader, of one stream in one direction, before the other side is held up.',
        ),
      max_waiting_streams: z
        .int()
        .min(0)
        .max(100_000)
        .default(1_000)
        .describe('Waiting pages that are told live how far their app is; further ones ask every few seconds.'),
      stream_buffers_max_bytes: z
        .int()
        .min(1_048_576)
        .max(68_719_476_736)
        .default(16_777_216)
        .describe(
          'The same of all streams together. As it fills, each stream may have less; when it is full, those are cut off that have taken nothing for longest.',
        ),
      max_upstream_sockets: z
        .int()
        .min(1)
        .max(60_000)
        .default(1_000)
        .describe(
          'Sockets in use to one target at most; further calls wait. Half of them at most are for calls whose body is not whole yet; further such calls get 503.',
        ),
      max_idle_upstream_sockets: z
        .int()
        .min(0)
        .max(60_000)
        .default(256)
        .describe('Idle sockets kept to one target at most.'),
      trusted_proxies: z
        .array(cidr)
        .max(256)
        .default([])
        .describe(
          'Addresses or CIDRs of proxies whose `X-Forwarded-*`, `Forwarded`, `X-Request-Id` and `traceparent` are believed: chains of addresses from their end up to the first that is no such proxy.',
        ),
      drain_delay_secs: z
        .number()
        .min(0)
        .max(300)
        .default(5)
        .describe('After SIGTERM: time for load balancers to see that it is not ready, before it stops accepting.'),
      drain_timeout_secs: z
        .number()
        .min(0)
        .max(3_600)
        .default(30)
        .describe('Then: time that calls, held ones too, and WebSockets have to end; these are closed with 1001 then.'),
      upstream_connect_timeout_ms: z
        .int()
        .min(1)
        .max(60_000)
        .default(2_000)
        .describe('Time to connect to a target, milliseconds.'),
      upstream_headers_timeout_secs: z
        .number()
        .min(1)
        .max(86_400)
        .default(300)
        .describe('Time an app has to begin its answer, seconds.'),
      request_headers_timeout_secs: z
        .number()
        .min(1)
        .max(3_600)
        .default(60)
        .describe('Time a client has to send its headers, seconds.'),
      request_timeout_secs: z
        .number()
        .min(0)
        .max(86_400)
        .default(300)
        .describe('Time a client has to send its whole request once it is read, seconds; 0 is no limit.'),
      request_stall_timeout_secs: z
        .number()
        .min(1)
        .max(86_400)
        .default(60)
        .describe('Time between two parts of a request body once it is read, seconds.'),
      response_stall_timeout_secs: z
        .number()
        .min(1)
        .max(86_400)
        .default(120)
        .describe('Time in which a client takes nothing of an answer that waits for it, seconds; then it is cut off.'),
      keep_alive_timeout_secs: z
        .number()
        .min(1)
        .max(3_600)
        .default(75)
        .describe('How long an idle connection of a client is kept, seconds.'),
      tls: tlsConfig,
      ...http2Keys,
      log_level: logLevel.default('info').describe('Least level that is logged.'),
      access_log: z
        .boolean()
        .default(false)
        .describe('Write a line for each call to standard output, whatever log_level is.'),
    })
    .refine(({ tls }) => tls.listen_port === undefined || tls.certificate.length > 0 || tls.cert_folder !== undefined, {
      message: 'needs a certificate: [[router.tls.certificate]] or cert_folder',
      path: ['tls', 'listen_port'],
    })
    .refine(({ tls }) => !tls.redirect_http || tls.listen_port !== undefined, {
      message: 'needs listen_port',
      path: ['tls', 'redirect_http'],
    })
    .refine((value) => (value.token === undefined) !== (value.token_file === undefined), {
      message: 'exactly one of token and token_file must be given',
      path: ['token'],
    })
    .prefault({})
    .describe('The router.'),
});

type RouterFile = z.output<typeof routerConfig>['router'];

/** The section with the token read and the name known. */
export type RouterConfig = Omit<RouterFile, 'token_file' | 'token' | 'name'> & {
  readonly token: string;
  readonly name: string;
};

/** @throws AppError config_invalid, naming for each problem the key, its line and what to do. */
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
    return { ...rest, tls, name: name ?? hostname(), token: value };
  });
}
