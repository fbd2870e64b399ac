/**
 * Lets several Postgres clients share one embedded database, which has a single session. Clients take turns: one turn is
 * everything up to an answer that says "no transaction open", so neither statements nor transactions of two clients mix.
 * (@electric-sql/pglite-socket takes turns by message, which mixes the unnamed statements of two pooled clients.)
 * Session state (SET, LISTEN, session advisory locks) is still shared by all clients.
 *
 * Message forms: https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { type Server, type Socket, createServer } from 'node:net';

/** What is needed of PGlite. */
interface WireDatabase {
  /** Executes one frontend message and returns the answer as sent on the wire. */
  execProtocolRaw(message: Uint8Array): Promise<Uint8Array>;
}

export interface PostgresFrontOptions {
  readonly database: WireDatabase;
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** A client that keeps a transaction open and idle for longer is disconnected, since all others wait for it. */
  readonly idleInTransactionMs?: number;
}

export interface PostgresFront {
  readonly port: number;
  close(): Promise<void>;
}

const maxConnections = 64;
const maxMessageBytes = 16 * 1024 * 1024;
const cancelRequestCode = 80_877_102;
const encryptionRequestCodes = [80_877_103, 80_877_104];

export async function startPostgresFront(options: PostgresFrontOptions): Promise<PostgresFront> {
  const turns = new Turns();
  const sockets = new Set<Socket>();
  const running = new Set<Promise<void>>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const session = serve(socket, options, turns).finally(() => {
      sockets.delete(socket);
      running.delete(session);
    });
    running.add(session);
  });
  server.maxConnections = maxConnections;
  await listen(server, options);
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  return {
    port: address.port,
    async close() {
      const closed = new Promise((done) => server.close(done));
      for (const socket of sockets) socket.destroy();
      await Promise.all(running);
      await closed;
    },
  };
}

/** One client, from its first byte to its last. Never rejects: what goes wrong ends the connection. */
async function serve(socket: Socket, options: PostgresFrontOptions, turns: Turns): Promise<void> {
  const { database, idleInTransactionMs = 60_000 } = options;
  let release: (() => void) | undefined;
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
      release ??= await turns.take();
      if (socket.destroyed) break;
      socket.setTimeout(0);
      const answer = await database.execProtocolRaw(message);
      if (answer.length > 0 && socket.writable) socket.write(answer);
      const state = transactionState(answer);
      if (state === 'idle') {
        release();
        release = undefined;
      } else if (state === 'open') {
        socket.setTimeout(idleInTransactionMs);
      }
    }
  } catch {
    // The connection broke, or the client does not speak the protocol.
  } finally {
    socket.destroy();
    if (release !== undefined) {
      // It left within its turn: what it had open ends with it. Sync first, in case it left between Parse and Sync.
      for (const message of [syncMessage, rollbackMessage]) {
        await database.execProtocolRaw(message).catch(() => undefined);
      }
      release();
    }
  }
}

/** Whole frontend messages in order; ends at Terminate and at the end of the socket. */
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

/** A turn may end only with ReadyForQuery, which ends an answer and tells whether a transaction is open. */
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

/** First come, first served; bounded by the number of connections. */
class Turns {
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;

  async take(): Promise<() => void> {
    if (this.#isTaken) await new Promise<void>((go) => this.#waiting.push(go));
    this.#isTaken = true;
    return () => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#isTaken = false;
      else next();
    };
  }
}

function listen(server: Server, options: PostgresFrontOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
