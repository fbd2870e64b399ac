/** How a program of the bench says where it listens, and that it ends with the process that started it. */
import type { Server } from 'node:net';

/** Listens on a free port of 127.0.0.1 and prints `{"port":N}`. */
export function announce(server: Server): void {
  server.listen({ host: '127.0.0.1', port: 0, backlog: 4_096 }, () => {
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    process.stdout.write(`${JSON.stringify({ port })}\n`);
  });
  process.on('disconnect', () => process.exit(0));
}
