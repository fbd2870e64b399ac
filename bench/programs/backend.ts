/** What the contenders of bench/forward.ts lead to: answers every request with the same small JSON, on raw sockets. */
import { createServer } from 'node:net';
import { announce } from './announce.ts';
import { isWhole } from './framing.ts';

/** 128 bytes. */
const body = JSON.stringify({ message: 'x'.repeat(114) });
const answer = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
);

const server = createServer({ noDelay: true }, (socket) => {
  let pending = '';
  socket.on('data', (chunk: Buffer) => {
    pending += chunk.toString('latin1');
    if (!isWhole(pending)) return;
    pending = '';
    socket.write(answer);
  });
  socket.on('error', () => socket.destroy());
});
announce(server);
