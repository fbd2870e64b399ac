import assert from 'node:assert/strict';
import { get, type IncomingMessage } from 'node:http';
import { test, type TestContext } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { wakeRule } from '../../shared/protocol/app-config.ts';
import type { EnsureProgress } from '../../shared/protocol/methods.ts';
import type { Route } from '../../shared/protocol/routes.ts';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, call, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';
import type { PageState } from './page-state.ts';

const browser = { headers: { Accept: 'text/html,*/*;q=0.8', 'Upgrade-Insecure-Requests': '1' } };
const waitingRoute = (serving: Route['serving'], more: Partial<Route> = {}): Route =>
  routeOf('a', serving, { waitingPage: true, ...more });
const starting: Route['serving'] = { state: 'hold', reason: 'starting' };
const crashed: Route['serving'] = { state: 'failed', failure: { code: 'app_crashed', phase: 'start', owner: 'app' } };
const stream = '/a/.holdfast/waiting';

interface Listener {
  readonly states: PageState[];
  readonly status: number;
  readonly ended: () => boolean;
  leave(): void;
}

/** As EventSource of a browser. */
async function listen(t: TestContext, port: number): Promise<Listener> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = get({
      host: '127.0.0.1',
      port,
      path: stream,
      agent: false,
      headers: { Accept: 'text/event-stream' },
    });
    request.on('response', resolve).on('error', reject);
    t.after(() => request.destroy());
  });
  const states: PageState[] = [];
  let ended = false;
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    const events = text.split('\n\n');
    text = events.pop() ?? '';
    for (const event of events) states.push(JSON.parse(event.replace(/^data: /, '')) as PageState);
  });
  response.on('end', () => (ended = true)).on('error', () => undefined);
  return { states, status: response.statusCode ?? 0, ended: () => ended, leave: () => response.destroy() };
}

const textOf = (state: PageState | undefined): string =>
  state === undefined || state.state === 'go' ? (state?.state ?? '') : state.text;

test('a browser that opens a sleeping app gets the page, and that asks for the app as a held call does', async (t) => {
  const { agent, port, router, registry } = await startTestRouter(t, { routes: [waitingRoute(asleep)] });
  const page = await call(port, '/a/cart?x=1', browser);
  assert.equal(page.status, 503);
  assert.match(page.headers['content-type'] ?? '', /^text\/html/);
  assert.match(page.body, /data-stream="\.\/\.holdfast\/waiting" data-state="waits"/);
  await until(() => agent.ensures.length === 1, 'an ensure');
  assert.equal(agent.causes[0]?.path, '/a/cart');
  assert.equal(router.held, 0);
  await call(port, '/a', browser);
  assert.equal(agent.ensures.length, 1);
  assert.match(await registry.metrics(), /holdfast_router_waiting_pages_total 2/);
});

test('whoever is no browser waits for the app, and so does everybody where the app has not chosen the page', async (t) => {
  const app = await startUpstream(t, 'one', (req, res) => {
    req.resume().on('end', () => res.end(`${req.method} ${req.url}`));
  });
  const { agent, port, router } = await startTestRouter(t, { routes: [waitingRoute(asleep), routeOf('b', asleep)] });
  const calls = [
    call(port, '/a/1'),
    call(port, '/a/2', { ...browser, method: 'POST', body: 'form' }),
    call(port, '/a/3', { headers: { Accept: 'text/html' } }),
    call(port, '/b/4', browser),
    call(port, '/b/.holdfast/waiting', browser),
  ];
  await until(() => router.held === calls.length, 'held calls');
  agent.push(waitingRoute(ready(targetOf(app))), routeOf('b', ready(targetOf(app))));
  const answers = await Promise.all(calls);
  assert.deepEqual(
    answers.map(({ status, body }) => `${status} ${body}`),
    ['200 GET /1', '200 POST /2', '200 GET /3', '200 GET /4', '200 GET /.holdfast/waiting'],
  );
  assert.equal((await call(port, '/a/5', browser)).body, 'GET /5');
});

test('a stream tells each step as it comes, does not wake twice, and ends when the app is up', async (t) => {
  const app = await startUpstream(t, 'one', (_req, res) => res.end('app'));
  const { agent, port, router } = await startTestRouter(t, { routes: [waitingRoute(asleep)] });
  let tell: (progress: EnsureProgress) => void = () => undefined;
  agent.onEnsure = (_params, _signal, onItem) => {
    tell = onItem;
    return new Promise(() => undefined);
  };
  await call(port, '/a', browser);
  const page = await listen(t, port);
  assert.equal(page.status, 200);
  await until(() => page.states.length === 1, 'the first state');
  agent.push(waitingRoute(starting));
  const at = (phase: EnsureProgress['phase'], queue?: EnsureProgress['queue']): void =>
    tell({ app: 'a', version: 1, phase, message: 'secret', ...(queue && { queue }) });
  at('queued', { position: 1, of: 2 });
  at('build');
  at('build');
  at('schedule');
  at('start');
  agent.push(waitingRoute(ready(targetOf(app))));
  await until(page.ended, 'the end of the stream');
  assert.deepEqual(page.states.map(textOf), [
    'Waking it up.',
    'Waiting for a build: 1 of 2 in the queue.',
    'Building the image.',
    'Finding a place to run.',
    'Waiting for its first answer.',
    'go',
  ]);
  assert.equal(agent.ensures.length, 1);
  assert.equal(router.held, 0);
  const late = await listen(t, port);
  await until(late.ended, 'the end of a late stream');
  assert.deepEqual(late.states, [{ state: 'go' }]);
});

test('a version that failed is told to the stream and to whoever opens the app, and opening it later tries again', async (t) => {
  const { agent, port } = await startTestRouter(t, { routes: [waitingRoute(asleep)] });
  await call(port, '/a', browser);
  const page = await listen(t, port);
  agent.push(waitingRoute(crashed));
  await until(page.ended, 'the end of the stream');
  const last = page.states.at(-1);
  assert.ok(last?.state === 'failed');
  assert.equal(last.detail, 'Error code app_crashed; to be fixed by the owner of this app.');
  const failed = await call(port, '/a', browser);
  assert.equal(failed.status, 502);
  assert.match(failed.body, /data-state="failed"/);
  assert.match((await call(port, '/a')).headers['content-type'] ?? '', /problem\+json/);
  agent.push(waitingRoute(asleep));
  assert.match((await call(port, '/a', browser)).body, /data-state="waits"/);
});

test('a start that fails without a push is shown too, and the next one who opens the app tries again', async (t) => {
  const clock = createShiftedClock();
  const { agent, port } = await startTestRouter(t, { clock, routes: [waitingRoute(asleep)] });
  agent.onEnsure = () => Promise.reject(new AppError('build_queue_full', 'full'));
  await call(port, '/a', browser);
  const page = await listen(t, port);
  await until(() => {
    clock.advance(300);
    return page.ended();
  }, 'the end of the stream');
  assert.match(JSON.stringify(page.states.at(-1)), /"failed".*build_queue_full/);
  agent.onEnsure = () => new Promise(() => undefined);
  assert.match((await call(port, '/a', browser)).body, /data-state="waits"/);
});

test('an app that may not be woken shows when it may', async (t) => {
  const { agent, port } = await startTestRouter(t, { routes: [waitingRoute(asleep)] });
  agent.onEnsure = () => Promise.reject(new AppError('wake_budget_exhausted', 'n', { retryAfterMs: 600_000 }));
  await call(port, '/a', browser);
  const page = await listen(t, port);
  await until(page.ended, 'the end of the stream');
  assert.match(textOf(page.states.at(-1)), /Try again in 10 minutes/);
  const refused = await call(port, '/a', browser);
  assert.equal(refused.status, 503);
  assert.ok(Number(refused.headers['retry-after']) > 500);
  assert.match(refused.body, /wake_budget_exhausted/);
  assert.equal(agent.ensures.length, 1);
});

test('a page whose agent is away says so, and the app is asked for when the agent is back', async (t) => {
  const { agent, port } = await startTestRouter(t, { routes: [waitingRoute(asleep)] });
  agent.onEnsure = () => new Promise(() => undefined);
  agent.down();
  assert.match((await call(port, '/a', browser)).body, /Waiting for the service that starts it/);
  const page = await listen(t, port);
  assert.deepEqual(agent.ensures, []);
  agent.up();
  await until(() => agent.ensures.length === 1, 'an ensure');
  assert.equal(agent.causes[0]?.path, stream);
  await until(() => textOf(page.states.at(-1)) === 'Waking it up.', 'the state');
});

test('streams are bounded; one more is refused and can still ask', async (t) => {
  const { port, registry } = await startTestRouter(t, {
    routes: [waitingRoute(asleep)],
    config: { max_waiting_streams: 1 },
  });
  const first = await listen(t, port);
  assert.equal((await listen(t, port)).status, 503);
  const asked = await call(port, stream, { headers: { Accept: 'application/json' } });
  assert.deepEqual([asked.status, JSON.parse(asked.body).text], [200, 'Waking it up.']);
  assert.match(await registry.metrics(), /holdfast_router_waiting_streams 1/);
  first.leave();
  let metrics = '';
  await until(() => {
    void registry.metrics().then((text) => (metrics = text));
    return metrics.includes('holdfast_router_waiting_streams 0');
  }, 'the place of the one that left');
  assert.equal((await listen(t, port)).status, 200);
});

test('a stream is told now and then that it is alive, and ends at its age', async (t) => {
  const clock = createShiftedClock();
  const { port } = await startTestRouter(t, { clock, routes: [waitingRoute(asleep)] });
  const page = await listen(t, port);
  for (let beats = 1; beats <= 3; beats += 1) {
    await until(() => page.states.length === beats, `state ${beats}`);
    clock.advance(15_000);
  }
  await until(() => {
    clock.advance(15_000);
    return page.ended();
  }, 'the end');
});

test('at the end of the router streams end, new ones are refused, and no page holds it up', async (t) => {
  const { agent, port, router } = await startTestRouter(t, {
    routes: [waitingRoute(asleep)],
    config: { drain_delay_secs: 0.3, drain_timeout_secs: 60 },
  });
  const page = await listen(t, port);
  const drained = router.drain();
  await until(page.ended, 'the end of the stream');
  assert.equal((await listen(t, port)).status, 503);
  await drained;
  assert.equal(agent.ensures.length, 1);
});

test('rules go before the page and its stream', async (t) => {
  const wakeRules = [wakeRule.parse({ path: '/a/*', answer: { status: 404 } })];
  const { agent, port } = await startTestRouter(t, { routes: [waitingRoute(asleep, { wakeRules })] });
  assert.equal((await call(port, '/a/x', browser)).status, 404);
  assert.equal((await listen(t, port)).status, 404);
  assert.deepEqual(agent.ensures, []);
});

test('below the reserved path there is nothing else, and nothing of it gets to the app', async (t) => {
  const app = await startUpstream(t, 'one', (_req, res) => res.end('app'));
  const { port } = await startTestRouter(t, { routes: [waitingRoute(ready(targetOf(app)))] });
  assert.equal((await call(port, '/a/.holdfast/other')).status, 404);
  const post = await call(port, stream, { method: 'POST', body: 'x' });
  assert.deepEqual([post.status, post.headers.allow], [405, 'GET, HEAD']);
  assert.equal((await call(port, '/a/.holdfastly')).body, 'app');
  assert.equal((await call(port, '/a/x/.holdfast/waiting')).body, 'app');
});

test('a page of an app that is deleted is told to look elsewhere', async (t) => {
  const { agent, port } = await startTestRouter(t, { routes: [waitingRoute(asleep)] });
  const page = await listen(t, port);
  agent.remove('a');
  await until(page.ended, 'the end of the stream');
  assert.deepEqual(page.states.at(-1), { state: 'go' });
});

test('a browser that finds the app on its way to zero waits for it: that is over in a moment', async (t) => {
  const app = await startUpstream(t, 'one', (_req, res) => res.end('app'));
  const { agent, port, router } = await startTestRouter(t, {
    routes: [waitingRoute({ state: 'hold', reason: 'draining' })],
  });
  const held = call(port, '/a', browser);
  await until(() => router.held === 1, 'a held call');
  agent.push(waitingRoute(ready(targetOf(app))));
  assert.equal((await held).body, 'app');
});
