/** The configuration of the client side, and the limits of connections that follow from it. */
import type { ConnectionLimits } from './connection-deps.ts';
import type { Http2Config } from './h2-config.ts';

/** Keys of `[router]`. */
export interface ServerConfig extends Http2Config {
  readonly listen_host: string;
  readonly listen_port: number;
  readonly trusted_proxies: readonly string[];
  readonly drop_client_fields: readonly string[];
  readonly pass_client_fields: readonly string[];
  readonly max_connections: number;
  readonly max_connections_per_client: number;
  readonly max_header_bytes: number;
  readonly max_header_fields: number;
  readonly max_trailer_bytes: number;
  readonly request_headers_timeout_secs: number;
  readonly request_timeout_secs: number;
  readonly request_stall_timeout_secs: number;
  readonly request_min_bytes_per_sec: number;
  readonly upstream_headers_timeout_secs: number;
  readonly response_stall_timeout_secs: number;
  readonly keep_alive_timeout_secs: number;
  readonly stream_buffer_bytes: number;
}

export function connectionLimits(config: ServerConfig): ConnectionLimits {
  return {
    maxHeaderBytes: config.max_header_bytes,
    maxFields: config.max_header_fields,
    maxTrailerBytes: config.max_trailer_bytes,
    headTimeoutMs: config.request_headers_timeout_secs * 1_000,
    keepAliveMs: config.keep_alive_timeout_secs * 1_000,
    bodyTimeoutMs: config.request_timeout_secs * 1_000,
    bodyStallMs: config.request_stall_timeout_secs * 1_000,
    bodyBytesPerSec: config.request_min_bytes_per_sec,
    appStallMs: config.upstream_headers_timeout_secs * 1_000,
    answerStallMs: config.response_stall_timeout_secs * 1_000,
  };
}

/** Fields of an answer after which the connection stays open. */
export function keepAliveFields({ keep_alive_timeout_secs: seconds }: ServerConfig): string {
  return `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.max(1, Math.floor(seconds))}\r\n`;
}
