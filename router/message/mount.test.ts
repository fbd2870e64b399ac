import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mountedCookie, mountedLocation, mountedRefresh, type Mount } from './mount.ts';

const mount: Mount = {
  prefix: '/shop',
  locations: true,
  cookies: true,
  bare: false,
  hosts: () => ['shop.example:8080', 'outer.example'],
};

/** Of each pair, what the client gets for what the app says; undefined: the same. */
const locations: readonly (readonly [string, string | undefined])[] = [
  ['/', '/shop/'],
  ['/login', '/shop/login'],
  ['/login?next=/a#b', '/shop/login?next=/a#b'],
  ['/?q', '/shop/?q'],
  ['/shopping', '/shop/shopping'],
  // What the app has done itself stays.
  ['/shop', undefined],
  ['/shop/login', undefined],
  ['/shop?a', undefined],
  ['http://shop.example:8080/shop/login', undefined],
  // A relative path is right by itself.
  ['', undefined],
  ['login', undefined],
  ['./login', undefined],
  ['../login', undefined],
  ['?page=2', undefined],
  ['#top', undefined],
  // Its own host, by any name that it was told.
  ['http://shop.example:8080/login', 'http://shop.example:8080/shop/login'],
  ['https://SHOP.example:8080/', 'https://SHOP.example:8080/shop/'],
  ['https://outer.example/login', 'https://outer.example/shop/login'],
  ['https://outer.example:443/login', 'https://outer.example:443/shop/login'],
  ['https://outer.example', 'https://outer.example/shop/'],
  ['https://outer.example?a', 'https://outer.example/shop/?a'],
  ['//outer.example/login', '//outer.example/shop/login'],
  // Another host, or what a browser takes for one.
  ['https://outer.example:8443/login', undefined],
  ['http://other.example/login', undefined],
  ['http://shop.example:8080@other.example/', undefined],
  ['http://outer.example.evil/', undefined],
  ['//other.example/login', undefined],
  ['/\\other.example', undefined],
  ['\\/other.example', undefined],
  ['///other.example', undefined],
  ['mailto:a@shop.example', undefined],
  ['data:text/plain,/x', undefined],
];

test('paths of the own host get the prefix once, and nothing else does', () => {
  for (const [value, expected] of locations) assert.equal(mountedLocation(value, mount), expected, value);
});

test('Refresh gets the prefix in its URL', () => {
  for (const [value, expected] of [
    ['5; url=/login', '5; url=/shop/login'],
    ['0;URL="/login?a"', '0;URL="/shop/login?a"'],
    ["1, Url = '/login'", "1, Url = '/shop/login'"],
    ['5', undefined],
    ['5; url=login', undefined],
    ['5; url=http://other.example/', undefined],
    ['5; url=/shop/login', undefined],
  ] as const)
    assert.equal(mountedRefresh(value, mount), expected, value);
});

test('the path of a cookie gets the prefix, its other attributes stay as they are', () => {
  for (const [value, expected] of [
    ['s=1; Path=/', 's=1; Path=/shop'],
    ['s=1; Path=/; HttpOnly; SameSite=Lax', 's=1; Path=/shop; HttpOnly; SameSite=Lax'],
    ['s=1;path=/admin;Secure', 's=1; Path=/shop/admin;Secure'],
    ['s=1; Max-Age=0; PATH = /x/ ; Domain=shop.example', 's=1; Max-Age=0; Path=/shop/x/; Domain=shop.example'],
    ['Path=/; Path=/a; Path=/b', 'Path=/; Path=/a; Path=/shop/b'],
    ['__Secure-s=1; Path=/; Secure', '__Secure-s=1; Path=/shop; Secure'],
    // By default that of the call, which is below the prefix.
    ['s=1', undefined],
    ['s=1; Path', undefined],
    ['s=1; Path=', undefined],
    ['s=1; Path=x', undefined],
    ['s=1; Path=/shop', undefined],
    ['s=1; Path=/shop/admin', undefined],
    ['__Host-s=1; Path=/; Secure', undefined],
    ['__host-s=1; Path=/; Secure', undefined],
    ['', undefined],
  ] as const)
    assert.equal(mountedCookie(value, mount), expected, value);
  // The default path of a call to the prefix itself is the one above it, where other apps are.
  assert.equal(mountedCookie('s=1; Secure', { ...mount, bare: true }), 's=1; Secure; Path=/shop');
  assert.equal(mountedCookie('s=1; Path=/x', { ...mount, bare: true }), 's=1; Path=/shop/x');
});
