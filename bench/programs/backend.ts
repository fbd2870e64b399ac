/** What the contenders of bench/forward.ts lead to where there is no nginx: a small JSON, or 64 KiB for `…/large`, on raw sockets. */
import { createServer } from 'node:net';
import { announce } from './announce.ts';
import { isWhole } from './framing.ts';

function answerOf(body: string): Buffer {
  return Buffer.from(
    `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
}

const small = answerOf(JSON.stringify({ message: 'x'.repeat(114) }));
const large = answerOf('x'.repeat(65_536));

const server = createServer({ noDelay: true }, (socket) => {
  let pending = '';
  socket.on('data', (chunk: Buffer) => {
    pending += chunk.toString('latin1');
    if (!isWhole(pending)) return;
    const answer = pending.includes('/large ') ? large : small;
    pending = '';
    socket.write(answer);
  });
  socket.on('error', () => socket.destroy());
});
announce(server);
