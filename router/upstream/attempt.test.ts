import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { sendCall } from '../testing/attempt.ts';

const get = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n';
const post = 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n';
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n';
const bytes = Buffer.from('abcd');
const reset = new AppError('upstream_reset', 'The app closed the connection.');
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

test('a GET goes out at once over an idle connection, and its answer ends the attempt', () => {
  const { attempt, call, transport, target, did, clock, answerHead } = sendCall(get);
  assert.equal(target.inFlight, 1);
  assert.equal(transport.answerByMs, clock.nowMs() + 5_000);
  assert.equal(answerHead(ok), 2);
  attempt.answerPart(bytes, 0, 2, false);
  attempt.answerEnd(undefined);
  attempt.answered();
  assert.deepEqual(did, ['head GET', 'request sent', 'answer 200', 'answer ends', 'left', 'answered']);
  assert.deepEqual([target.inFlight, call.bytesSent, call.attempt], [0, 2, undefined]);
});

test('a POST over an idle connection waits until the end of the turn, one over a shared connection does not', async () => {
  const idle = sendCall(post);
  const shared = sendCall(post, { origin: 'shared' });
  assert.deepEqual([idle.did, shared.did], [[], ['head POST', 'request sent']]);
  await turn();
  assert.deepEqual(idle.did, ['head POST', 'request sent']);
});

test('a POST whose idle connection closes in that turn goes over a new one, although its body was not read', async () => {
  const { attempt, call, did } = sendCall(post);
  attempt.failed('closed', reset);
  await turn();
  assert.deepEqual(did, ['aborted', 'left', 'routed again']);
  assert.equal(call.needsFresh, true);
});

test('a head that the transport cannot send any more leaves the attempt to what that reports', () => {
  const { attempt, did } = sendCall(get, { takesHead: false });
  assert.deepEqual(did, []);
  attempt.failed('closed', reset);
  assert.deepEqual(did, ['aborted', 'left', 'routed again']);
});

test('a dial is counted until it ends, and its end sends the call', () => {
  const { attempt, target, did } = sendCall(post, { origin: 'dialled' });
  assert.equal(target.connecting, 1);
  attempt.connected();
  assert.equal(target.connecting, 0);
  assert.deepEqual(did, ['connected', 'head POST', 'request sent']);
});

for (const timedOut of [true, false]) {
  test(`a dial that ${timedOut ? 'is not made in time' : 'is refused'} is reported once the call has left, which is routed again`, () => {
    const { attempt, target, did } = sendCall(post, { origin: 'dialled' });
    attempt.dialFailed(timedOut);
    assert.deepEqual(did, ['aborted', 'left', timedOut ? 'dial timed out' : 'dial refused', 'routed again']);
    assert.deepEqual([target.connecting, target.inFlight], [0, 0]);
  });
}

test('what has arrived of a body goes out with the head, the rest as the target takes it', () => {
  const { attempt, transport, did } = sendCall(post, {
    origin: 'shared',
    arrived: (sink) => void sink.requestBody(bytes, 0, 2, undefined),
  });
  assert.deepEqual(did.splice(0), ['head POST', 'body ab', 'request sent']);
  assert.equal(transport.answerByMs, Infinity, 'an app may take its time while the body arrives');
  transport.keepsUp = false;
  assert.equal(attempt.requestBody(bytes, 2, 3, undefined), false);
  attempt.drained();
  transport.keepsUp = true;
  assert.equal(attempt.requestBody(bytes, 3, 4, 'no trailers'), true);
  attempt.drained();
  assert.deepEqual(did, ['body c', 'request sent', 'body resumed', 'body d', 'body ends', 'request sent']);
  assert.notEqual(transport.answerByMs, Infinity);
});

test('bodies that are still arriving may hold so many connections of a target, and further ones are refused', () => {
  const options = { origin: 'dialled', maxUploads: 1 } as const;
  const first = sendCall(post, options);
  first.attempt.connected();
  const whole = sendCall(post, {
    ...options,
    target: first.target,
    arrived: (sink) => void sink.requestBody(bytes, 0, 4, 'no trailers'),
  });
  whole.attempt.connected();
  assert.deepEqual(whole.did.at(-1), 'request sent');
  const second = sendCall(post, { ...options, target: first.target });
  second.attempt.connected();
  assert.deepEqual(second.did.slice(-3), ['aborted', 'left', 'refused router_overloaded']);
  const stream = sendCall(post, { ...options, target: first.target, isExclusive: false });
  stream.attempt.connected();
  assert.deepEqual(stream.did.at(-1), 'request sent');
  first.attempt.requestBody(bytes, 0, 4, 'no trailers');
  assert.equal(first.target.uploads, 0);
});

test('an answer is stalled while its client does not keep up, and is given up where others wait for the connection', () => {
  const { attempt, target, did, client, clock, answerHead } = sendCall(get);
  answerHead(ok);
  client.keepsUp = false;
  assert.equal(attempt.flush(), false);
  assert.equal(target.stalled.size, 1);
  attempt.clientDrained();
  assert.deepEqual([target.stalled.size, did.at(-1)], [0, 'answer resumed']);
  attempt.flush();
  target.stalled.shed(1, 0, clock.nowMs() + 2_999);
  assert.equal(target.stalled.size, 1, 'a client has a moment to go on');
  target.stalled.shed(1, 0, clock.nowMs() + 3_000);
  assert.deepEqual([target.stalled.size, ...did.slice(-3)], [0, 'aborted', 'left', 'broken off']);
});

test('a failure is answered by an error before the answer begins, and breaks the answer off after that', () => {
  const early = sendCall(post, { origin: 'shared' });
  early.attempt.failed('closed', reset);
  assert.deepEqual(early.did.slice(-3), ['aborted', 'left', 'refused upstream_reset']);
  const late = sendCall(get);
  late.answerHead(ok);
  late.attempt.failed('closed', reset);
  assert.deepEqual(late.did.slice(-3), ['aborted', 'left', 'broken off']);
});

test('a fault of the body ends the attempt before anything is sent', () => {
  const { did } = sendCall(post, {
    origin: 'shared',
    arrived: (sink) => sink.requestFault(new AppError('request_invalid', 'The body is not valid.')),
  });
  assert.deepEqual(did, ['head POST', 'aborted', 'left', 'refused request_invalid']);
});

test('a client that leaves aborts the attempt once, and nothing follows', () => {
  const { attempt, target, did } = sendCall(get);
  attempt.abort();
  attempt.abort();
  attempt.failed('closed', reset);
  assert.deepEqual(did, ['head GET', 'request sent', 'aborted', 'left']);
  assert.equal(target.inFlight, 0);
});
