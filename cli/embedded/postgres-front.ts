/**
 * Lets several Postgres clients share one embedded database, which has a single session. Clients take turns: one turn is
 * everything up to an answer that says "no transaction open", so neither statements nor transactions of two clients mix.
 * (@electric-sql/pglite-socket takes turns by message, which mixes the unnamed statements of two pooled clients.)
 * Session state (SET, LISTEN, session advisory locks) is still shared by all clients.
 *
 * Message forms: https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import { type Socket, createServer } from 'node:net';
import { createMutex, type Mutex } from '../../shared/wait/mutex.ts';
import type { Place } from '../../shared/wait/semaphore.ts';

/** The part of PGlite that is needed. */
interface WireDatabase {
  /** Executes one frontend message and returns the answer as sent on the wire. */
  execProtocolRaw(message: Uint8Array): Promise<Uint8Array>;
}

export interface PostgresFrontOptions {
  readonly database: WireDatabase;
  /** Where the socket is made, in a folder that only its owner may enter: there is no other check of who connects. */
  readonly socket: string;
  /** A client that keeps a transaction open and idle for longer is disconnected, since all others wait for it. */
  readonly idleInTransactionMs?: number;
}

const maxConnections = 64;
const maxMessageBytes = 16 * 1024 * 1024;
const cancelRequestCode = 80_877_102;
const encryptionRequestCodes = [80_877_103, 80_877_104];

export async function startPostgresFront(options: PostgresFrontOptions) {
  const closing = new AbortController();
  const turns = createMutex({ maxWaiting: maxConnections });
  const sockets = new Set<Socket>();
  const running = new Set<Promise<void>>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const session = serve(socket, { options, turns, signal: closing.signal }).finally(() => {
      sockets.delete(socket);
      running.delete(session);
    });
    running.add(session);
  });
  server.maxConnections = maxConnections;
  // A process that was killed has left its socket.
  await rm(options.socket, { force: true });
  const listening = once(server, 'listening');
  server.listen(options.socket);
  await listening;
  await chmod(options.socket, 0o600);
  return {
    async close(): Promise<void> {
      const closed = new Promise((done) => server.close(done));
      closing.abort();
      for (const socket of sockets) socket.destroy();
      await Promise.all(running);
      await closed;
    },
  };
}

interface Serving {
  readonly options: PostgresFrontOptions;
  readonly turns: Mutex;
  /** Aborts when the front closes. */
  readonly signal: AbortSignal;
}

/** Serves one client, from its first byte to its last. Never rejects: an error ends the connection. */
async function serve(socket: Socket, { options, turns, signal }: Serving): Promise<void> {
  const { database, idleInTransactionMs = 60_000 } = options;
  let turn: Place | undefined;
  socket.setNoDelay(true);
  socket.on('error', () => {
    socket.destroy();
  });
  socket.on('timeout', () => {
    socket.destroy();
  });
  try {
    for await (const message of messagesOf(socket)) {
      if (message === 'encryption') {
        socket.write('N');
        continue;
      }
      turn ??= await turns.acquire(signal);
      if (socket.destroyed) break;
      socket.setTimeout(0);
      const answer = await database.execProtocolRaw(message);
      if (answer.length > 0 && socket.writable) socket.write(answer);
      const state = transactionState(answer);
      if (state === 'idle') {
        turn[Symbol.dispose]();
        turn = undefined;
      } else if (state === 'open') {
        socket.setTimeout(idleInTransactionMs);
      }
    }
  } catch {
    // The connection broke, or the client does not speak the protocol.
  } finally {
    socket.destroy();
    if (turn !== undefined) {
      // The client left during its turn, so roll back its transaction. Sync comes first, in case it left between Parse
      // and Sync.
      for (const message of [syncMessage, rollbackMessage]) {
        await database.execProtocolRaw(message).catch(() => undefined);
      }
      turn[Symbol.dispose]();
    }
  }
}

/** Yields complete frontend messages in order, until Terminate or the end of the socket. */
async function* messagesOf(socket: Socket): AsyncGenerator<Uint8Array | 'encryption'> {
  let buffered: Buffer = Buffer.alloc(0);
  let isStarted = false;
  for await (const chunk of socket) {
    buffered = Buffer.concat([buffered, chunk as Buffer]);
    for (;;) {
      // The first messages of a connection have no type byte.
      const lengthAt = isStarted ? 1 : 0;
      if (buffered.length < lengthAt + 4) break;
      const size = lengthAt + buffered.readInt32BE(lengthAt);
      if (size < lengthAt + 4 || size > maxMessageBytes) throw new Error('malformed message');
      if (buffered.length < size) break;
      const message = new Uint8Array(buffered.subarray(0, size));
      buffered = buffered.subarray(size);
      const code = isStarted || size < 8 ? 0 : Buffer.from(message).readInt32BE(4);
      if (code === cancelRequestCode) return;
      if (isStarted && message[0] === terminate) return;
      if (encryptionRequestCodes.includes(code)) yield 'encryption';
      else {
        isStarted = true;
        yield message;
      }
    }
  }
}

const terminate = 'X'.charCodeAt(0);
const readyForQuery = 'Z'.charCodeAt(0);
const idle = 'I'.charCodeAt(0);
const syncMessage = new Uint8Array([0x53, 0, 0, 0, 4]);
const rollbackMessage = simpleQuery('ROLLBACK');

/** A turn may only end with ReadyForQuery, which ends an answer and reports whether a transaction is open. */
function transactionState(answer: Uint8Array): 'idle' | 'open' | 'unfinished' {
  const tail = answer.subarray(-6);
  if (tail.length < 6 || tail[0] !== readyForQuery || tail[4] !== 5) return 'unfinished';
  return tail[5] === idle ? 'idle' : 'open';
}

function simpleQuery(sql: string): Uint8Array {
  const body = Buffer.from(`${sql}\0`);
  const message = Buffer.alloc(5 + body.length);
  message.write('Q');
  message.writeInt32BE(4 + body.length, 1);
  body.copy(message, 5);
  return new Uint8Array(message);
}
