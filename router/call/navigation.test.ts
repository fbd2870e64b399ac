import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RequestHead } from '../message/request-head.ts';
import { isNavigation, prefersPage } from './navigation.ts';

const chrome = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
const head = { method: 'GET', chunked: false, contentLength: 0, upgrade: undefined };

function navigates(fields: Record<string, string>, more: Partial<RequestHead> = {}): boolean {
  return isNavigation({ ...head, ...more, field: (name) => fields[name] });
}

const https = { accept: chrome, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
const cleartext = { accept: chrome, 'upgrade-insecure-requests': '1' };

test('a browser that opens an address navigates, with and without Sec-Fetch fields', () => {
  assert.ok(navigates(https));
  assert.ok(navigates(cleartext));
  assert.ok(navigates({ ...cleartext, accept: 'TEXT/HTML; q=0.5' }));
});

const others: Record<string, readonly [Record<string, string>, Partial<RequestHead>?]> = {
  'a program that takes anything': [{ accept: '*/*' }],
  'a program without Accept': [{}],
  'a program that takes HTML': [{ accept: 'text/html' }],
  'fetch of a script that wants HTML': [{ accept: 'text/html', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
  'fetch of a script over cleartext': [{ accept: 'text/html, application/xhtml+xml' }],
  'a frame in a page': [{ ...https, 'sec-fetch-dest': 'iframe' }],
  'an image': [{ accept: 'image/avif,image/webp,*/*', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
  'one that wants no HTML': [{ ...cleartext, accept: 'text/html;q=0, application/json' }],
  'the post of a form': [https, { method: 'POST', contentLength: 7 }],
  HEAD: [https, { method: 'HEAD' }],
  'a GET with a body': [https, { chunked: true }],
  'a WebSocket': [https, { upgrade: 'websocket' }],
};
for (const [what, [fields, more]] of Object.entries(others)) {
  test(`it is no navigation: ${what}`, () => assert.ok(!navigates(fields, more)));
}

test('an error is told by a page where HTML is asked for by name, and by JSON elsewhere', () => {
  const prefers = (fields: Record<string, string>, more: Partial<RequestHead> = {}): boolean =>
    prefersPage({ ...head, ...more, field: (name) => fields[name] });
  assert.ok(prefers({ accept: 'text/html' }));
  assert.ok(prefers(https));
  assert.ok(prefers(https, { method: 'HEAD' }));
  assert.ok(prefers({ accept: 'text/html, application/json' }));
  assert.ok(!prefers({ accept: 'text/html;q=0.8, application/vnd.api+json' }));
  assert.ok(!prefers({ accept: 'text/*' }));
  assert.ok(!prefers({ ...https, 'sec-fetch-dest': 'empty' }));
  assert.ok(!prefers(https, { method: 'POST' }));
  assert.ok(!prefers(https, { method: 'LIST' }));
});
