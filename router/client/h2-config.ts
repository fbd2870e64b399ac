/** The keys of HTTP/2 with clients in `[router]`. */
import { z } from 'zod';

export const http2Keys = {
  http2: z
    .boolean()
    .default(true)
    .describe('Take HTTP/2 from clients: by TLS, and without it from those that begin with it (prior knowledge).'),
  http2_max_connections: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1_000)
    .describe(
      'Connections of HTTP/2 at once, of those of `max_connections`; at the bound clients of TLS are offered HTTP/1.1 alone.',
    ),
  http2_max_calls: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(3_000)
    .describe('Calls at once on all HTTP/2 connections; further ones are refused by REFUSED_STREAM.'),
  http2_max_streams: z
    .int()
    .min(1)
    .max(10_000)
    .default(100)
    .describe('Calls at once on one HTTP/2 connection of a client at most.'),
  http2_max_session_memory_mib: z
    .int()
    .min(1)
    .max(1_024)
    .default(10)
    .describe('Memory of one HTTP/2 connection at most, MiB: what waits in it both ways and its header tables.'),
  http2_reset_burst: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1_000)
    .describe('Calls that a client may cancel on one HTTP/2 connection in quick succession; then it is closed.'),
  http2_resets_per_sec: z
    .int()
    .min(1)
    .max(100_000)
    .default(33)
    .describe('How fast `http2_reset_burst` is granted anew, calls a second.'),
};
