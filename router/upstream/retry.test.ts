import assert from 'node:assert/strict';
import { test } from 'node:test';
import { headOf } from '../testing/attempt.ts';
import { decideRetry, type Decision } from './retry.ts';
import type { Failure, Transport } from './transport.ts';

interface Case {
  readonly what: string;
  readonly failure: Failure;
  readonly head?: string;
  /** By default true. */
  readonly sent?: boolean;
  readonly origin?: Transport['origin'];
  readonly receivedAny?: boolean;
  /** Whether the transport can give the body back. */
  readonly recalls?: boolean;
  /** Earlier attempts that ended although the target had nothing against the call. */
  readonly before?: number;
  readonly needsFresh?: boolean;
  readonly decision: Decision;
  /** Whether the next attempt dials. */
  readonly dials?: boolean;
}

const get = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n';
const post = 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n';
const getWithBody = 'GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n';

const cases: readonly Case[] = [
  { what: 'a fatal failure', failure: 'fatal', decision: 'refuse' },
  {
    what: 'an idle connection closed before a POST',
    failure: 'closed',
    head: post,
    sent: false,
    decision: 'retry',
    dials: true,
  },
  {
    what: 'the third idle connection in a row closed',
    failure: 'closed',
    sent: false,
    before: 2,
    decision: 'retry_elsewhere',
  },
  { what: 'an idle connection closed behind a GET', failure: 'closed', decision: 'retry', dials: true },
  {
    what: 'a shared connection closed behind a GET',
    failure: 'closed',
    origin: 'shared',
    decision: 'retry',
    dials: true,
  },
  {
    what: 'an idle connection closed behind a method that nothing is known of',
    failure: 'closed',
    head: 'LIST / HTTP/1.1\r\nHost: h\r\n\r\n',
    decision: 'refuse',
  },
  {
    what: 'an idle connection closed behind a get in lower case, which is another method',
    failure: 'closed',
    head: 'get / HTTP/1.1\r\nHost: h\r\n\r\n',
    decision: 'refuse',
  },
  { what: 'an idle connection closed behind a POST', failure: 'closed', head: post, decision: 'refuse' },
  {
    what: 'an idle connection closed behind a GET with a body',
    failure: 'closed',
    head: getWithBody,
    decision: 'refuse',
  },
  {
    what: 'a connection closed in the middle of an answer head',
    failure: 'closed',
    receivedAny: true,
    decision: 'refuse',
  },
  { what: 'a connection made for the call closed', failure: 'closed', origin: 'dialled', decision: 'refuse' },
  {
    what: 'the connection of a second try closed',
    failure: 'closed',
    needsFresh: true,
    decision: 'refuse',
    dials: true,
  },
  { what: 'a refused stream', failure: 'unprocessed', head: post, decision: 'retry' },
  {
    what: 'a refused stream whose body is gone',
    failure: 'unprocessed',
    head: post,
    recalls: false,
    decision: 'refuse',
  },
  { what: 'the third refused stream', failure: 'unprocessed', before: 2, decision: 'refuse' },
];

for (const one of cases) {
  const {
    what,
    failure,
    decision,
    sent = true,
    origin = 'idle',
    receivedAny = false,
    recalls = true,
    dials = false,
  } = one;
  test(`${what}: ${decision}`, () => {
    const call = {
      head: headOf(one.head ?? get),
      clientSide: { readBody: () => undefined, resumeBody: () => undefined },
      wastedAttempts: one.before ?? 0,
      needsFresh: one.needsFresh ?? false,
    };
    assert.equal(decideRetry(failure, sent, call, { origin, receivedAny, recallBody: () => recalls }), decision);
    assert.equal(call.needsFresh, dials);
  });
}
