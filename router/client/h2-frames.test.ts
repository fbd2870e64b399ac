import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, call, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';
import { block, Flag, frame, FrameClient, preface, settings, Type } from '../testing/h2-frames.ts';

type Fields = readonly (readonly [name: string, value: string])[];

const get: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/a'],
  [':authority', 'h'],
];
const post: Fields = [[':method', 'POST'], ...get.slice(1)];
const whole = Flag.endHeaders | Flag.endStream;

function headers(fields: Fields, flags: number = whole, stream = 1): Buffer {
  return frame(Type.headers, flags, stream, block(fields));
}

function data(text: string, flags: number = Flag.endStream, stream = 1): Buffer {
  return frame(Type.data, flags, stream, Buffer.from(text));
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Behind the preface and settings, where the first one is not `raw`. What happens is in the words of `verdict`. */
const cases: readonly (readonly [what: string, expected: string | RegExp, ...frames: readonly Buffer[]])[] = [
  ['a good request', 'answered', headers(get)],
  ['a frame of an unknown type before it', 'answered', frame(99, 255, 0, Buffer.from('x')), headers(get)],
  ['unknown settings', 'answered', settings([0x4242, 1]), headers(get)],
  [
    'a padded head',
    'answered',
    frame(Type.headers, whole | Flag.padded, 1, Buffer.concat([Buffer.from([2]), block(get), Buffer.alloc(2)])),
  ],
  [
    'a head in parts',
    'answered',
    frame(Type.headers, Flag.endStream, 1, block(get.slice(0, 2))),
    frame(Type.continuation, Flag.endHeaders, 1, block(get.slice(2))),
  ],
  ['te: trailers', 'answered', headers([...get, ['te', 'trailers']])],
  ['a frame larger than was agreed', 'goaway 6', frame(Type.data, 0, 1, Buffer.alloc(16_385))],
  ['DATA on no stream', 'goaway 1', data('x', 0, 0)],
  ['DATA on a stream that is not open', 'goaway 1', data('x', 0, 1)],
  ['DATA behind the end of a stream', /^(goaway|reset) 5$/, headers(post), data('x')],
  ['HEADERS on no stream', 'goaway 1', headers(get, whole, 0)],
  ['HEADERS on a stream of the server', 'goaway 1', headers(get, whole, 2)],
  ['a stream number below the last one, which is left out', 'answered', headers(get, whole, 5), headers(get, whole, 3)],
  ['RST_STREAM of a stream that is not open', 'goaway 1', frame(Type.rst, 0, 1, word(8))],
  ['RST_STREAM of a wrong length', 'goaway 6', headers(post, Flag.endHeaders), frame(Type.rst, 0, 1, Buffer.alloc(3))],
  ['a window that does not grow', 'goaway 1', frame(Type.windowUpdate, 0, 0, word(0))],
  ['a window that grows too much', 'goaway 3', frame(Type.windowUpdate, 0, 0, word(2 ** 31 - 1))],
  [
    'the window of a stream that grows too much',
    /^(goaway|reset) 3$/,
    headers(post, Flag.endHeaders),
    frame(Type.windowUpdate, 0, 1, word(2 ** 31 - 1)),
  ],
  ['settings of a wrong length', 'goaway 6', frame(Type.settings, 0, 0, Buffer.alloc(5))],
  ['settings of a stream', 'goaway 1', frame(Type.settings, 0, 1, Buffer.alloc(6))],
  ['settings acknowledged with values', 'goaway 6', frame(Type.settings, Flag.ack, 0, Buffer.alloc(6))],
  ['ENABLE_PUSH of 2', 'goaway 1', settings([2, 2])],
  ['INITIAL_WINDOW_SIZE over the limit', 'goaway 3', settings([4, 2 ** 31])],
  ['MAX_FRAME_SIZE below the least', 'goaway 1', settings([5, 100])],
  ['a PING of a wrong length', 'goaway 6', frame(Type.ping, 0, 0, Buffer.alloc(7))],
  ['a PING of a stream', 'goaway 1', frame(Type.ping, 0, 1, Buffer.alloc(8))],
  ['a CONTINUATION of nothing', 'goaway 1', frame(Type.continuation, Flag.endHeaders, 1, block(get))],
  [
    'another frame inside a head',
    'goaway 1',
    frame(Type.headers, 0, 1, block(get)),
    frame(Type.ping, 0, 0, Buffer.alloc(8)),
  ],
  ['PUSH_PROMISE of a client', 'goaway 1', frame(Type.push, Flag.endHeaders, 1, Buffer.concat([word(2), block(get)]))],
  ['padding longer than its frame', 'goaway 1', frame(Type.headers, whole | Flag.padded, 1, Buffer.from([200, 0]))],
  ['a header table index that is not there', 'goaway 9', frame(Type.headers, whole, 1, Buffer.from([0xff, 0x7f]))],
  ['a header block that breaks off', 'goaway 9', frame(Type.headers, whole, 1, Buffer.from([0, 5, 0x61]))],
  ['a field name in upper case', 'reset 1', headers([...get, ['X-Upper', 'x']])],
  ['a field name with a blank, which is left out', 'answered', headers([...get, ['x y', 'x']])],
  ['an empty field name, which is left out', 'answered', headers([...get, ['', 'x']])],
  ['a line break in a field, which is left out', 'answered', headers([...get, ['x', 'a\r\nevil: 1']])],
  ['NUL in a field, which is left out', 'answered', headers([...get, ['x', 'a\0b']])],
  ['an unknown pseudo-header field', 'reset 1', headers([...get, [':x', 'x']])],
  ['a pseudo-header field of answers', 'reset 1', headers([...get, [':status', '200']])],
  ['a pseudo-header field behind another field', 'reset 1', headers([['x', 'x'], ...get])],
  ['no :method', 'reset 1', headers(get.slice(1))],
  ['no :path', 'reset 1', headers(get.filter(([name]) => name !== ':path'))],
  ['no :scheme', 'reset 1', headers(get.filter(([name]) => name !== ':scheme'))],
  ['an empty :path', 'reset 1', headers(get.map(([name, value]) => [name, name === ':path' ? '' : value]))],
  ['two :path', 'reset 1', headers([...get, [':path', '/b']])],
  [
    'a :path that is none',
    'reset 1',
    headers(get.map(([name, value]) => [name, name === ':path' ? 'http://x/' : value])),
  ],
  [
    'a :path with a blank',
    /^(reset 1|400)$/,
    headers(get.map(([name, value]) => [name, name === ':path' ? '/a b' : value])),
  ],
  [
    'a :path that would end the line',
    'reset 1',
    headers(get.map(([name, value]) => [name, name === ':path' ? '/a HTTP/1.1\r\nx: y' : value])),
  ],
  [
    'a :path with dot segments',
    '400',
    headers(get.map(([name, value]) => [name, name === ':path' ? '/a/../b' : value])),
  ],
  [
    'an :authority that is no host',
    /^(reset 1|400)$/,
    headers(get.map(([name, value]) => [name, name === ':authority' ? 'u@h/x' : value])),
  ],
  ['a Host that is another one', '400', headers([...get, ['host', 'other']])],
  ['two Host fields', /^(reset 1|400)$/, headers([...get.slice(0, 3), ['host', 'a'], ['host', 'b']])],
  ['no host at all', /^(reset 1|400)$/, headers(get.slice(0, 3))],
  ['an unknown method', 'answered', headers([[':method', 'LIST'], ...get.slice(1)])],
  ['a method over the limit', '501', headers([[':method', 'M'.repeat(129)], ...get.slice(1)])],
  ['a method that would be two words', /^(reset 1|400)$/, headers([[':method', 'GET /x'], ...get.slice(1)])],
  ['TRACE', '405', headers([[':method', 'TRACE'], ...get.slice(1)])],
  ['connection', 'reset 1', headers([...get, ['connection', 'close']])],
  ['keep-alive', 'reset 1', headers([...get, ['keep-alive', 'timeout=5']])],
  ['proxy-connection', 'reset 1', headers([...get, ['proxy-connection', 'close']])],
  [
    'transfer-encoding',
    'reset 1',
    headers([...post, ['transfer-encoding', 'chunked']], Flag.endHeaders),
    data('0\r\n\r\n'),
  ],
  ['upgrade', 'reset 1', headers([...get, ['upgrade', 'websocket']])],
  ['te of something else', 'reset 1', headers([...get, ['te', 'gzip']])],
  ['an unknown expectation', '400', headers([...post, ['expect', 'magic']], Flag.endHeaders), data('x')],
  [
    'a content-length that is none',
    /^(reset 1|400)$/,
    headers([...post, ['content-length', '1x']], Flag.endHeaders),
    data('x'),
  ],
  [
    'two lengths',
    /^(reset 1|400)$/,
    headers([...post, ['content-length', '1'], ['content-length', '2']], Flag.endHeaders),
    data('x'),
  ],
  ['a length without a body', 'reset 1', headers([...post, ['content-length', '5']])],
  [
    'a body longer than its length',
    /^(reset 1|goaway 2)$/,
    headers([...post, ['content-length', '1']], Flag.endHeaders),
    data('four'),
  ],
  [
    'a body shorter than its length',
    'reset 1',
    headers([...post, ['content-length', '9']], Flag.endHeaders),
    data('four'),
  ],
  [
    'a pseudo-header field among trailers',
    'reset 1',
    headers(post, Flag.endHeaders),
    data('x', 0),
    headers([[':path', '/b']]),
  ],
  [
    'trailers that are not the end',
    'reset 1',
    headers(post, Flag.endHeaders),
    data('x', 0),
    headers([['x', 'y']], Flag.endHeaders),
  ],
];

for (const [what, expected, ...frames] of cases) {
  test(`${what}: ${String(expected)}`, async (t) => {
    let whole = 0;
    const app = await startUpstream(t, 'a-1', (req, res) => {
      assert.deepEqual(
        Object.keys(req.headers).filter((name) => /^(x|evil|x y|)$/.test(name)),
        [],
      );
      req.resume().on('end', () => {
        whole += 1;
        res.end('ok');
      });
    });
    const { port, agent } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
    const client = new FrameClient(t, port);
    client.say(preface, settings(), ...frames);
    const verdict = await client.verdict();
    if (typeof expected === 'string') assert.equal(verdict, expected);
    else assert.match(verdict, expected);
    // No request of which a part was refused was whole to the app; and the router goes on.
    if (expected !== 'answered' && !what.startsWith('DATA behind')) assert.equal(whole, 0);
    assert.equal((await call(port, '/a')).body, 'ok');
    client.socket.destroy();
    assert.deepEqual(await agent.release('a', ['a-1'], 5_000), { inFlight: 0, upgraded: 0 });
  });
}

test('a first frame that is no SETTINGS, and a preface that goes wrong, end the connection', async (t) => {
  const { port } = await startTestRouter(t);
  const hasty = new FrameClient(t, port);
  hasty.say(preface, headers(get));
  assert.equal(await hasty.verdict(), 'goaway 1');
  await until(() => hasty.closed, 'the end');
  const wrong = new FrameClient(t, port);
  wrong.say(preface.subarray(0, 20), Buffer.from('XXXX'));
  await until(() => wrong.closed, 'the end of the other');
});

const floods: readonly (readonly [what: string, one: (index: number) => Buffer, count: number])[] = [
  [
    'of resets (CVE-2023-44487)',
    (index) => Buffer.concat([headers(get, whole, 2 * index + 1), frame(Type.rst, 0, 2 * index + 1, word(8))]),
    5_000,
  ],
  ['of settings', () => settings(), 5_000],
  ['of settings with many values', () => settings(...Array.from({ length: 100 }, () => [3, 100] as const)), 100],
  ['of pings', () => frame(Type.ping, 0, 0, Buffer.alloc(8)), 50_000],
  [
    'of empty parts of a head',
    (index) => (index === 0 ? frame(Type.headers, 0, 1, block(get)) : frame(Type.continuation, 0, 1)),
    1_000,
  ],
  [
    'of a head that grows',
    (index) =>
      index === 0
        ? frame(Type.headers, 0, 1, block(get))
        : frame(Type.continuation, 0, 1, block([[`x${index}`, 'y'.repeat(8_000)]])),
    1_000,
  ],
  ['of heads that are malformed', (index) => headers([...get, ['connection', 'x']], whole, 2 * index + 1), 5_000],
  ['of more streams than are taken', (index) => headers(get, whole, 2 * index + 1), 5_000],
];

for (const [what, one, count] of floods) {
  test(`a flood ${what} ends its connection, and nobody else is hurt`, async (t) => {
    const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
    const { port, router } = await startTestRouter(t, {
      routes: [routeOf('b', ready(targetOf(app))), routeOf('a', asleep)],
    });
    const client = new FrameClient(t, port);
    // It reads no answer.
    client.socket.pause();
    client.say(preface, settings());
    for (let index = 0; index < count && !client.closed; index += 100) {
      const many = Array.from({ length: Math.min(100, count - index) }, (_, at) => one(index + at));
      await new Promise<void>((resolve) => client.socket.write(Buffer.concat(many), () => resolve()));
    }
    client.socket.resume();
    assert.equal((await call(port, '/b')).body, 'ok');
    await until(() => client.closed, 'the end of the flood');
    await until(() => router.held === 0, 'nothing held');
  });
}
