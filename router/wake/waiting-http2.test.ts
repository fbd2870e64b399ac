import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wakeRule } from '../../shared/protocol/app-config.ts';
import { answerOf, callBy, openSession } from '../testing/h2.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';

const browser = {
  accept: 'text/html,*/*;q=0.8',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
};

test('over HTTP/2 too, a browser gets the page and its stream, and a call that matches a rule gets its static answer', async (t) => {
  const app = await startUpstream(t, 'one', (_req, res) => res.end('app'));
  const wakeRules = [wakeRule.parse({ user_agent: '*bot*', answer: { status: 200, body: 'zzz' } })];
  const more = { waitingPage: true, wakeRules } as const;
  const { agent, port } = await startTestRouter(t, { routes: [routeOf('a', asleep, more)] });
  const session = openSession(t, port);

  const ruled = await callBy(session, '/a', { 'user-agent': 'bot/1' });
  assert.deepEqual([ruled.status, ruled.body, ruled.code], [200, 'zzz', 0]);
  const head = await callBy(session, '/a', { 'user-agent': 'bot/1', ':method': 'HEAD' });
  assert.deepEqual([head.status, head.body, head.fields['content-length']], [200, '', '3']);
  assert.deepEqual(agent.ensures, []);

  const page = await callBy(session, '/a/x', browser);
  assert.deepEqual([page.status, page.code], [503, 0]);
  assert.match(page.body, /data-state="waits"/);
  await until(() => agent.ensures.length === 1, 'an ensure');

  const stream = session.request({ ':path': '/a/.holdfast/waiting', accept: 'text/event-stream' });
  const streamed = answerOf(stream);
  let heard = '';
  stream.on('data', (chunk: Buffer) => (heard += chunk.toString()));
  await until(() => heard.includes('Waking it up'), 'the first state');
  agent.push(routeOf('a', ready(targetOf(app)), more));
  assert.equal((await streamed).code, 0);
  assert.match(heard, /data: {"state":"go"}\n\n$/);
  assert.equal((await callBy(session, '/a/x', browser)).body, 'app');
});

test('by HTTP/2 a page that is left frees its place', async (t) => {
  const { port, registry } = await startTestRouter(t, { routes: [routeOf('a', asleep, { waitingPage: true })] });
  const stream = openSession(t, port).request({ ':path': '/a/.holdfast/waiting', accept: 'text/event-stream' });
  stream.on('error', () => undefined);
  let metrics = '';
  const streams = (count: number): boolean => {
    void registry.metrics().then((text) => (metrics = text));
    return metrics.includes(`holdfast_router_waiting_streams ${count}`);
  };
  await until(() => streams(1), 'the stream');
  stream.close(8);
  await until(() => streams(0), 'its place');
});
