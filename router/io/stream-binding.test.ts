import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test } from 'node:test';
import { SocketIo } from './socket-io.ts';
import { handleOf, openStreamBinding } from './stream-binding.ts';

async function connected(): Promise<{ ours: Socket; theirs: Socket } & Disposable> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const theirs = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [ours] = (await once(server, 'connection')) as [Socket];
  return {
    ours,
    theirs,
    [Symbol.dispose]() {
      theirs.destroy();
      ours.destroy();
      server.close();
    },
  };
}

test('this Node has all that reads and writes without streams rest on', async () => {
  const binding = openStreamBinding();
  assert.ok(binding, 'the binding is missing or has changed: see stream-binding.ts');
  assert.ok(binding.streamBaseState instanceof Int32Array);
  assert.ok(Math.max(binding.kReadBytesOrError, binding.kLastWriteWasAsync) < binding.streamBaseState.length);
  using pair = await connected();
  for (const socket of [pair.ours, pair.theirs]) {
    const handle = handleOf(socket);
    assert.equal(handle?.constructor.name, 'TCP');
    assert.equal(typeof handle.reading, 'boolean');
    for (const name of ['onread', 'writeBuffer', 'writev', 'readStart', 'readStop', 'useUserBuffer'] as const) {
      assert.equal(typeof handle[name], 'function', name);
    }
  }
});

test('on this Node, bytes pass a socket without its stream', async () => {
  using pair = await connected();
  const { ours, theirs } = pair;
  ours.write = (): boolean => assert.fail('written by the stream');
  ours.push = (): boolean => assert.fail('read by the stream');
  const io = new SocketIo();
  const buffer = Buffer.alloc(64);
  const read = new Promise<string>((resolve) => {
    const reads = io.read(ours, buffer, (count) => {
      resolve(buffer.toString('latin1', 0, count));
      return undefined;
    });
    assert.ok(reads);
  });
  theirs.write('question');
  assert.equal(await read, 'question');
  assert.ok(io.write(ours, Buffer.from('ans'), Buffer.from('wer')));
  assert.equal(String((await once(theirs, 'data'))[0]), 'answer');
});

test('without the binding, sockets are read and written as streams', async () => {
  using pair = await connected();
  const { ours, theirs } = pair;
  const io = new SocketIo(null);
  assert.equal(
    io.read(ours, Buffer.alloc(64), () => assert.fail()),
    false,
  );
  assert.ok(io.write(ours, Buffer.from('ans'), Buffer.from('wer')));
  theirs.setEncoding('latin1');
  let text = '';
  for await (const chunk of theirs) if ((text += String(chunk)) === 'answer') break;
  assert.equal(text, 'answer');
});
