/** Keys of `[router]` for HTTP/2 with clients. */
import { z } from 'zod';
import { integer } from '../../shared/number-keys.ts';

export const http2Keys = {
  http2: z
    .boolean()
    .default(true)
    .describe(
      'Accept HTTP/2 from clients: with TLS, and without TLS from clients that start with it (prior knowledge).',
    ),
  http2_max_connections: integer([1, 1_000_000], 1_000).describe(
    'HTTP/2 connections at once, which count in `max_connections` too; when full, clients of TLS are offered HTTP/1.1 alone.',
  ),
  http2_max_calls: integer([1, 1_000_000], 3_000).describe(
    'Calls at once on all HTTP/2 connections; more are refused with REFUSED_STREAM.',
  ),
  http2_max_streams: integer([1, 10_000], 100).describe('Calls at once on one HTTP/2 connection.'),
  http2_max_session_memory_mib: integer([1, 1_024], 10).describe(
    'Memory of one HTTP/2 connection, MiB: what waits in it in both directions, and its header tables.',
  ),
  http2_reset_burst: integer([1, 1_000_000], 1_000).describe(
    'Calls that a client may cancel in quick succession on one HTTP/2 connection; beyond that it is closed.',
  ),
  http2_resets_per_sec: integer([1, 100_000], 33).describe('How fast `http2_reset_burst` refills, calls a second.'),
};

export type Http2Config = z.output<z.ZodObject<typeof http2Keys>>;
