/** For tests of bytes: a client and an app that say what the test says, byte for byte. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { Target } from '../../shared/protocol/routes.ts';

export interface RawApp {
  readonly target: Target;
  /** What came, one entry an answer. */
  readonly got: string[];
  readonly connections: () => number;
}

/** Says `answer` each time when what came since the last one matches `when`; or `onData` does what it wants with all that came. */
export async function startRawApp(
  t: TestContext,
  options: {
    readonly answer?: string;
    readonly when?: RegExp;
    /** Closes after its answer. */
    readonly ends?: boolean;
    readonly onData?: (socket: Socket, got: string) => void;
  },
): Promise<RawApp> {
  const sockets = new Set<Socket>();
  const got: string[] = [];
  const { answer = '', when = /\r\n\r\n/, ends = false, onData } = options;
  let connections = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    connections += 1;
    let pending = '';
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      pending += chunk.toString('latin1');
      if (onData !== undefined) onData(socket, pending);
      else if (when.test(pending)) {
        got.push(pending);
        pending = '';
        socket.write(answer, 'latin1');
        if (ends) socket.end();
      }
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        for (const socket of sockets) socket.destroy();
      }),
  );
  return {
    target: { id: 'raw', host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    got,
    connections: () => connections,
  };
}

/** Sends bytes as they are (in parts, each when the one before is on its way) and reads until the other side closes. */
export function exchangeBytes(port: number, ...parts: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let answer = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => (answer += chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
    const next = (index: number): void => {
      const part = parts[index];
      if (part !== undefined && socket.writable) socket.write(part, 'latin1', () => setImmediate(next, index + 1));
    };
    next(0);
  });
}
