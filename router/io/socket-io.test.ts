import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { ClientSockets } from './client-socket.ts';
import { SocketIo } from './socket-io.ts';
import { heldBytes, pauseReading, resumeReading, unsentBytes } from './socket-state.ts';
import { until } from '../../shared/wait/testing/until.ts';

const io = new SocketIo();

/** Two ends of one connection: ours, and the other side's. */
async function pair(t: TestContext): Promise<{ ours: Socket; theirs: Socket }> {
  const server = createServer({ allowHalfOpen: true, highWaterMark: 1_024 });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const theirs = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [ours] = (await once(server, 'connection')) as [Socket];
  t.after(() => {
    theirs.destroy();
    ours.destroy();
    server.close();
  });
  ours.on('error', () => undefined);
  theirs.on('error', () => undefined);
  return { ours, theirs };
}

test('what is read lies in the shared buffer, and the end of the other side is told as ever', async (t) => {
  const { ours, theirs } = await pair(t);
  const buffer = Buffer.alloc(64);
  let text = '';
  assert.ok(
    io.read(ours, buffer, (count) => {
      text += buffer.toString('latin1', 0, count);
      return undefined;
    }),
  );
  const ended = once(ours, 'end');
  theirs.end('x'.repeat(200));
  await ended;
  assert.equal(text, 'x'.repeat(200));
});

test('a paused socket reads nothing until it is resumed; given back to its stream it has data events', async (t) => {
  const { ours, theirs } = await pair(t);
  const buffer = Buffer.alloc(64);
  let text = '';
  io.read(ours, buffer, (count) => {
    text += buffer.toString('latin1', 0, count);
    pauseReading(ours);
    return undefined;
  });
  theirs.write('one');
  await until(() => text === 'one', 'the first bytes');
  theirs.write('two');
  // Another connection of the same process gets what was sent later.
  const other = await pair(t);
  other.theirs.write('later');
  await once(other.ours, 'data');
  assert.equal(text, 'one');
  resumeReading(ours);
  await until(() => text === 'onetwo', 'the rest');
  resumeReading(ours);
  io.returnToStream(ours, buffer);
  theirs.write('three');
  assert.equal(String((await once(ours, 'data'))[0]), 'three');
});

test('writes of all sorts arrive in order however slowly they are taken, and the end of what waits is told', async (t) => {
  const { ours, theirs } = await pair(t);
  let sent = 0;
  let waits = 0;
  const write = (): void => {
    while (sent < 400) {
      sent += 1;
      // Small and large ones, alone and two in one: each kind behind each other.
      const bytes = Buffer.alloc(sent % 3 === 0 ? 10 : 70_000, sent);
      if (sent % 2 === 0) io.write(ours, bytes);
      else io.write(ours, bytes, Buffer.alloc(20_000, sent));
      if (unsentBytes(ours) <= 65_536) continue;
      waits += 1;
      return;
    }
    ours.end();
  };
  ours.on('drain', write);
  write();
  assert.ok(waits > 0, 'nothing had to wait');
  let last = 0;
  let bytes = 0;
  theirs.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    for (const byte of chunk) {
      if (byte !== last) assert.equal(byte, (last + 1) % 256);
      last = byte;
    }
  });
  await once(theirs, 'end');
  const small = Math.floor(400 / 3);
  assert.equal(bytes, small * 10 + (400 - small) * 70_000 + 200 * 20_000);
  assert.equal(unsentBytes(ours), 0);
  assert.equal(heldBytes(ours), 0);
});

test('a write to a side that is gone ends the socket with its error, unless the socket can do without', async (t) => {
  const { ours, theirs } = await pair(t);
  theirs.resetAndDestroy();
  const failed = once(ours, 'error');
  await until(() => {
    io.write(ours, Buffer.from('x'));
    return ours.destroyed;
  }, 'the failure');
  const [error] = (await failed) as [NodeJS.ErrnoException];
  assert.match(error.code ?? '', /^(EPIPE|ECONNRESET)$/);
  assert.ok(io.write(ours, Buffer.from('x')) !== undefined);
});

test('a socket that is given back to its stream tells its former owner nothing more', async (t) => {
  const { ours, theirs } = await pair(t);
  const heard: string[] = [];
  const sockets = new ClientSockets(io);
  sockets.listen(ours, {
    data: (chunk) => heard.push(chunk.toString()),
    ended: () => heard.push('end'),
    drained: () => heard.push('drain'),
    gone: () => heard.push('close'),
  });
  theirs.write('one');
  await until(() => heard.length > 0, 'the first bytes');
  sockets.backToStream(ours);
  ours.on('error', () => undefined);
  theirs.end('two');
  assert.equal(String((await once(ours, 'data'))[0]), 'two');
  await once(ours, 'end');
  assert.deepEqual(heard, ['one']);
});
