/** What makes sessions of HTTP/2 on connections of clients, within what one client may have of it. */
import { createServer, type Http2Server } from 'node:http2';
import type { Socket } from 'node:net';
import type { RouterConfig } from '../config.ts';
import type { ConnectionDeps } from './connection-deps.ts';
import { H2Connection } from './h2-connection.ts';
import { Http2Room } from './h2-room.ts';

export type Http2Config = Pick<
  RouterConfig,
  | 'max_header_bytes'
  | 'max_header_fields'
  | 'stream_buffer_bytes'
  | 'http2_max_connections'
  | 'http2_max_calls'
  | 'http2_max_streams'
  | 'http2_max_session_memory_mib'
  | 'http2_reset_burst'
  | 'http2_resets_per_sec'
>;

/** What HTTP/2 counts for a field besides its text (RFC 9113 §6.5.2), and pseudo-header fields there can be. */
const fieldOverheadBytes = 32;
const pseudoFields = 6;
/** Windows are full or half: the least that a body flows by. */
const leastWindowBytes = 16_384;
/** Of the connection, in windows of a stream: several bodies at once are not slowed by each other. */
const windowsOfConnection = 16;

export interface Http2Acceptor {
  readonly room: Http2Room;
  /** @param received what was read of it until now. */
  accept(socket: Socket, received?: Buffer): H2Connection;
}

export function createHttp2Acceptor(config: Http2Config, deps: ConnectionDeps): Http2Acceptor {
  const windowBytes = Math.max(leastWindowBytes, Math.min(config.stream_buffer_bytes, 2 ** 24));
  const server: Http2Server = createServer({
    settings: {
      maxConcurrentStreams: config.http2_max_streams,
      initialWindowSize: windowBytes,
      maxHeaderListSize: config.max_header_bytes + fieldOverheadBytes * (config.max_header_fields + pseudoFields),
      enablePush: false,
    },
    maxHeaderListPairs: config.max_header_fields + pseudoFields,
    maxSendHeaderBlockLength: 2 * config.max_header_bytes + 65_536,
    maxSessionMemory: config.http2_max_session_memory_mib,
    streamResetBurst: config.http2_reset_burst,
    streamResetRate: config.http2_resets_per_sec,
    // A field twice is the business of the app, as it is by HTTP/1.1.
    strictSingleValueFields: false,
  });
  // Broken by its client, which has been told; its socket closes.
  server.on('sessionError', () => undefined);
  server.on('session', (session) => {
    session.once('connect', () => session.setLocalWindowSize(windowsOfConnection * windowBytes));
  });
  const room = new Http2Room({ maxSessions: config.http2_max_connections, maxStreams: config.http2_max_calls });
  return {
    room,
    accept(socket, received) {
      // Of TLS: node's own server would have noted that the handshake is over, and a session waits for that.
      if (isSecure(socket)) socket.secureConnecting = false;
      socket.pause();
      if (received !== undefined) socket.unshift(received);
      return new H2Connection(socket, server, deps, room);
    },
  };
}

function isSecure(socket: Socket): socket is Socket & { secureConnecting: boolean } {
  return 'secureConnecting' in socket;
}
