/** Makes connections of HTTP/2 of clients' sockets, within what one client may have of it. */
import { createServer, type Http2Server } from 'node:http2';
import type { Socket } from 'node:net';
import type { ConnectionDeps } from './connection-deps.ts';
import { Http2Capacity } from './h2-capacity.ts';
import { H2Connection } from './h2-connection.ts';
import type { ServerConfig } from './server-config.ts';

/** What HTTP/2 counts for a field besides its text (RFC 9113 §6.5.2), and how many pseudo-header fields there can be. */
const fieldOverheadBytes = 32;
const pseudoFields = 6;
/** Windows are full or half full, so a body flows by this much at least. */
const minWindowBytes = 16_384;
/** The window of a connection, in windows of a stream: several bodies at once do not slow each other down. */
const streamWindows = 16;

/** What a client of HTTP/2 says first, RFC 9113 §3.4. */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** The length of its method with the blank; requests of HTTP/1.1 with that method are refused. */
const minPrefaceBytes = 4;

/** @param first bytes of a connection. @returns whether they are the beginning of HTTP/2, or more. */
export function isPreface(first: Buffer): boolean {
  const length = Math.min(first.length, preface.length);
  return length >= minPrefaceBytes && first.compare(preface, 0, length, 0, length) === 0;
}

export type Http2Acceptor = ReturnType<typeof createHttp2Acceptor>;

export function createHttp2Acceptor(config: ServerConfig, deps: ConnectionDeps) {
  const server = createSessions(config);
  const capacity = new Http2Capacity({
    maxConnections: config.http2_max_connections,
    maxStreams: config.http2_max_calls,
  });
  return {
    capacity,
    /** @param received what was read of the socket until now. */
    accept(socket: Socket, received?: Buffer): H2Connection {
      // Node's own server would have noted that the handshake of TLS is over, and a session waits for that.
      if (isSecure(socket)) socket.secureConnecting = false;
      socket.pause();
      if (received !== undefined) socket.unshift(received);
      return new H2Connection(socket, server, capacity, deps);
    },
  };
}

/** A server that listens nowhere: sockets are handed to it, and it makes sessions of them. */
function createSessions(config: ServerConfig): Http2Server {
  const windowBytes = Math.max(minWindowBytes, Math.min(config.stream_buffer_bytes, 2 ** 24));
  const maxFields = config.max_header_fields + pseudoFields;
  const server = createServer({
    settings: {
      maxConcurrentStreams: config.http2_max_streams,
      initialWindowSize: windowBytes,
      maxHeaderListSize: config.max_header_bytes + fieldOverheadBytes * maxFields,
      enablePush: false,
    },
    maxHeaderListPairs: maxFields,
    maxSendHeaderBlockLength: 2 * config.max_header_bytes + 65_536,
    maxSessionMemory: config.http2_max_session_memory_mib,
    streamResetBurst: config.http2_reset_burst,
    streamResetRate: config.http2_resets_per_sec,
    // Whether a field may come twice is for the app to say, as on HTTP/1.1.
    strictSingleValueFields: false,
  });
  // The client has broken the session; Node has sent a GOAWAY and closes the socket.
  server.on('sessionError', () => undefined);
  server.on('session', (session) => {
    session.once('connect', () => session.setLocalWindowSize(streamWindows * windowBytes));
  });
  return server;
}

function isSecure(socket: Socket): socket is Socket & { secureConnecting: boolean } {
  return 'secureConnecting' in socket;
}
