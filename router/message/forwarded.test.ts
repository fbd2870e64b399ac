import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchangeBytes, startRawApp } from '../testing/raw-bytes.ts';
import { ready, routeOf, startTestRouter } from '../testing/router.ts';

const trusted_proxies = ['127.0.0.1', '10.0.0.0/8', '2001:db8:1::/48'];

interface Case {
  readonly what: string;
  /** Fields that the proxy sends. */
  readonly says: readonly string[];
  /** Those that the app gets, of these names; none: undefined. */
  readonly app: Readonly<Record<string, string | undefined>>;
}

const own = 'for=127.0.0.1;host="h";proto=http';

const cases: readonly Case[] = [
  {
    what: 'nothing',
    says: [],
    app: { 'X-Forwarded-For': '127.0.0.1', Forwarded: own, 'X-Forwarded-Proto': 'http', 'X-Forwarded-Host': 'h' },
  },
  {
    what: 'a client',
    says: [
      'X-Forwarded-For: 192.0.2.7',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: shop.example',
      'X-Forwarded-Port: 8443',
    ],
    app: {
      'X-Forwarded-For': '192.0.2.7, 127.0.0.1',
      'X-Forwarded-Proto': 'https',
      'X-Forwarded-Host': 'shop.example',
      'X-Forwarded-Port': '8443',
      Forwarded: `for=192.0.2.7;host="shop.example";proto=https, ${own}`,
    },
  },
  {
    what: 'a client behind several proxies, two of them trusted',
    says: ['X-Forwarded-For: 192.0.2.7, 10.1.2.3, 10.4.5.6'],
    app: { 'X-Forwarded-For': '192.0.2.7, 10.1.2.3, 10.4.5.6, 127.0.0.1' },
  },
  {
    what: 'what a client says of itself before the address that was seen',
    says: ['X-Forwarded-For: 203.0.113.66, 10.9.9.9, 192.0.2.7, 10.1.2.3'],
    app: { 'X-Forwarded-For': '192.0.2.7, 10.1.2.3, 127.0.0.1' },
  },
  {
    what: 'the same in a field of its own',
    says: ['X-Forwarded-For: 203.0.113.66', 'x-forwarded-for: 192.0.2.7'],
    app: { 'X-Forwarded-For': '192.0.2.7, 127.0.0.1' },
  },
  {
    what: 'trusted proxies alone',
    says: ['X-Forwarded-For: 10.1.2.3, 10.4.5.6'],
    app: { 'X-Forwarded-For': '10.1.2.3, 10.4.5.6, 127.0.0.1' },
  },
  {
    what: 'addresses with ports and of IPv6',
    says: ['X-Forwarded-For: [2001:db8::7]:4711, 2001:db8:1::9, 10.1.2.3:80'],
    app: {
      'X-Forwarded-For': '[2001:db8::7]:4711, 2001:db8:1::9, 10.1.2.3:80, 127.0.0.1',
      Forwarded: `for="[2001:db8::7]:4711";host="h";proto=http, for="[2001:db8:1::9]", for="10.1.2.3:80", ${own}`,
    },
  },
  {
    what: 'an address mapped to IPv6',
    says: ['X-Forwarded-For: 203.0.113.66, ::ffff:192.0.2.7, ::ffff:10.1.2.3'],
    app: { 'X-Forwarded-For': '::ffff:192.0.2.7, ::ffff:10.1.2.3, 127.0.0.1' },
  },
  {
    what: 'a client that is not known',
    says: ['X-Forwarded-For: 203.0.113.66, unknown'],
    app: { 'X-Forwarded-For': 'unknown, 127.0.0.1', Forwarded: `for=unknown;host="h";proto=http, ${own}` },
  },
  ...[
    'evil',
    '',
    '1.2.3',
    '1.2.3.4.5',
    '010.0.0.1',
    '127.0.0.1%lo',
    'fe80::1%eth0',
    '<script>',
    '"',
    '10.1.2.3:99999999',
    '[10.1.2.3]',
  ].map((bad): Case => ({
    what: `something malformed in the chain: ${bad}`,
    says: [`X-Forwarded-For: 203.0.113.66, ${bad}, 10.1.2.3`],
    app: { 'X-Forwarded-For': '10.1.2.3, 127.0.0.1', Forwarded: `for=10.1.2.3;host="h";proto=http, ${own}` },
  })),
  {
    what: 'Forwarded alone, which tells the others',
    says: ['Forwarded: for=192.0.2.7;proto=https;host=shop.example, For="10.1.2.3:80";by=_x'],
    app: {
      'X-Forwarded-For': '192.0.2.7, 10.1.2.3:80, 127.0.0.1',
      'X-Forwarded-Proto': 'https',
      'X-Forwarded-Host': 'shop.example',
      Forwarded: `for=192.0.2.7;host="shop.example";proto=https, for="10.1.2.3:80", ${own}`,
    },
  },
  {
    what: 'what a client says of itself in Forwarded, with a quote that hides a comma',
    says: ['Forwarded: for="203.0.113.66, for=192.0.2.8"', 'Forwarded: for=192.0.2.7'],
    app: { Forwarded: `for=192.0.2.7, ${own}`, 'X-Forwarded-For': '192.0.2.7, 127.0.0.1' },
  },
  ...[
    'for="192.0.2.7',
    'for=192.0.2.7;for=192.0.2.8',
    'for=192.0.2.7 host=x',
    'for="\\1"',
    'for=1.2',
    'for=',
    'x',
    'for=192.0.2.7;proto=gopher',
  ].map((bad): Case => ({
    what: `Forwarded that is malformed: ${bad}`,
    says: [`Forwarded: ${bad}`],
    app: { Forwarded: own, 'X-Forwarded-For': '127.0.0.1', 'X-Forwarded-Proto': 'http' },
  })),
  {
    what: 'a client whose name is hidden, which X-Forwarded-For cannot tell',
    says: ['Forwarded: for=_secret;proto=https'],
    app: { Forwarded: `for=_secret;proto=https, ${own}`, 'X-Forwarded-For': '127.0.0.1', 'X-Forwarded-Proto': 'https' },
  },
  {
    what: 'schemes and hosts of each proxy: those of the client are the ones beside its address',
    says: [
      'X-Forwarded-For: 203.0.113.66, 192.0.2.7, 10.1.2.3',
      'X-Forwarded-Proto: gopher, https, http',
      'X-Forwarded-Host: evil.example, shop.example, inner.example',
      'X-Forwarded-Port: 1, 443, 80',
    ],
    app: { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'shop.example', 'X-Forwarded-Port': '443' },
  },
  {
    what: 'lists of another length: the last is what the nearest proxy says',
    says: [
      'X-Forwarded-For: 192.0.2.7',
      'X-Forwarded-Proto: https, http',
      'X-Forwarded-Host: evil.example',
      'X-Forwarded-Host: shop.example',
    ],
    app: { 'X-Forwarded-Proto': 'http', 'X-Forwarded-Host': 'shop.example' },
  },
  {
    what: 'values that are none',
    says: [
      'X-Forwarded-Proto: javascript',
      'X-Forwarded-Host: a/b',
      'X-Forwarded-Port: 99999',
      'X-Forwarded-Prefix: //evil.example',
      'X-Request-Id: a b',
    ],
    app: {
      'X-Forwarded-Proto': 'http',
      'X-Forwarded-Host': 'h',
      'X-Forwarded-Port': undefined,
      'X-Forwarded-Prefix': '/a',
    },
  },
  { what: 'a prefix', says: ['X-Forwarded-Prefix: /outer/x/'], app: { 'X-Forwarded-Prefix': '/outer/x/a' } },
  {
    what: 'two prefixes and two ids, neither of which is the one',
    says: ['X-Forwarded-Prefix: /one', 'X-Forwarded-Prefix: /two', 'X-Request-Id: one', 'X-Request-Id: two'],
    app: { 'X-Forwarded-Prefix': '/a', 'X-Request-Id': undefined },
  },
  { what: 'an id', says: ['X-Request-Id: mine-1'], app: { 'X-Request-Id': 'mine-1' } },
  {
    what: 'a trace',
    says: [
      'tracestate: a=b',
      'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00',
      'tracestate: c=d',
    ],
    app: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00', tracestate: 'a=b\nc=d' },
  },
  {
    what: 'a trace of a later version',
    says: ['traceparent: 01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more'],
    app: { traceparent: '01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more' },
  },
  ...[
    '00-00000000000000000000000000000000-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01',
    '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01',
    'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x',
    'x',
    '',
  ].map((bad): Case => ({
    what: `a trace that is none: ${bad}`,
    says: ['tracestate: a=b', `traceparent: ${bad}`],
    app: { traceparent: undefined, tracestate: undefined },
  })),
  {
    what: 'two traces',
    says: Array.from({ length: 2 }, () => 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'),
    app: { traceparent: undefined },
  },
  {
    what: 'the same by names that are read alike, and others that nobody vouches for',
    says: [
      'X_Forwarded_For: 203.0.113.66',
      'X-Forwarded_Proto: https',
      'X-Real-IP: 203.0.113.66',
      'x_request_id: evil',
      'X-Forwarded-Server: x',
    ],
    app: {
      'X-Forwarded-For': '127.0.0.1',
      X_Forwarded_For: undefined,
      'X-Forwarded_Proto': undefined,
      'X-Real-IP': undefined,
      x_request_id: undefined,
      'X-Forwarded-Server': undefined,
    },
  },
  {
    what: 'a chain of thousands of trusted proxies, which is cut',
    says: [`X-Forwarded-For: ${Array.from({ length: 1_000 }, () => '10.0.0.1').join(',')}`],
    app: { 'X-Forwarded-For': `${'10.0.0.1, '.repeat(32)}127.0.0.1` },
  },
];

/** What the router makes anew where it believes nothing. */
const fresh: Readonly<Record<string, RegExp>> = {
  traceparent: /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/,
  'X-Request-Id': /^[0-9a-f-]{36}$/,
};

for (const { what, says, app } of cases) {
  test(`from a trusted proxy: ${what}`, async (t) => {
    const raw = await startRawApp(t, { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n' });
    const { port } = await startTestRouter(t, {
      routes: [routeOf('a', ready(raw.target), { path: '/a' })],
      config: { trusted_proxies },
    });
    await exchangeBytes(
      port,
      `GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${says.map((line) => `${line}\r\n`).join('')}\r\n`,
    );
    for (const [name, value] of Object.entries(app)) {
      const found = [...(raw.got[0] ?? '').matchAll(new RegExp(`\\r\\n${name}: ([^\\r]*)`, 'gi'))].map(
        (match) => match[1],
      );
      const anew = fresh[name];
      if (value === undefined && anew !== undefined) {
        assert.equal(found.length, 1);
        assert.match(found[0] ?? '', anew);
        assert.ok(!says.some((line) => line.includes(found[0] ?? '')));
      } else assert.equal(found.length === 0 ? undefined : found.join('\n'), value, name);
    }
  });
}

test('from a client that is not trusted none of this is believed, whatever its spelling and however often', async (t) => {
  const raw = await startRawApp(t, { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n' });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/a' })] });
  const names =
    'Forwarded X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port X-Forwarded-Prefix X-Request-Id X-Real-IP X-Forwarded-Server X-Forwarded-Ssl traceparent tracestate'.split(
      ' ',
    );
  const spelled = names.flatMap((name) => [
    name,
    name.toLowerCase(),
    name.toUpperCase(),
    name.replaceAll('-', '_'),
    name,
  ]);
  await exchangeBytes(
    port,
    `GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${spelled.map((name) => `${name}: 203.0.113.66\r\n`).join('')}\r\n`,
  );
  const got = raw.got[0] ?? '';
  assert.doesNotMatch(got, /203\.0\.113\.66/);
  assert.match(got, /\r\nX-Forwarded-For: 127\.0\.0\.1\r\n/);
  assert.match(got, /\r\nX-Forwarded-Prefix: \/a\r\n/);
  assert.equal(got.match(/forwarded/gi)?.length, 5);
});
