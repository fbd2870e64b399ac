/** Keys of `[router]` for HTTP/2 with clients. */
import { z } from 'zod';

export const http2Keys = {
  http2: z
    .boolean()
    .default(true)
    .describe('Accept HTTP/2 from clients: by TLS, and without it from clients that start with it (prior knowledge).'),
  http2_max_connections: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1_000)
    .describe(
      'HTTP/2 connections at once, which count in `max_connections` too; when full, clients of TLS are offered HTTP/1.1 alone.',
    ),
  http2_max_calls: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(3_000)
    .describe('Calls at once on all HTTP/2 connections; more are refused with REFUSED_STREAM.'),
  http2_max_streams: z.int().min(1).max(10_000).default(100).describe('Calls at once on one HTTP/2 connection.'),
  http2_max_session_memory_mib: z
    .int()
    .min(1)
    .max(1_024)
    .default(10)
    .describe('Memory of one HTTP/2 connection, MiB: what waits in it in both directions, and its header tables.'),
  http2_reset_burst: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1_000)
    .describe('Calls that a client may cancel in quick succession on one HTTP/2 connection; beyond that it is closed.'),
  http2_resets_per_sec: z
    .int()
    .min(1)
    .max(100_000)
    .default(33)
    .describe('How fast `http2_reset_burst` refills, calls a second.'),
};
