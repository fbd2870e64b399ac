import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '../../../../shared/error-codes.ts';
import type { ProbeOutcome } from '../../../../shared/net/http-probe.ts';
import type { PodFacts } from '../picture/facts.ts';
import { judgeRollout, type Observation } from './verdict.ts';
import { testPod, testRun } from '../../../testing/kubernetes-run.ts';

const { config } = testRun({
  config: { container: { start_deadline_secs: 10 }, kubernetes: { unschedulable_grace_secs: 20 } },
});

const nothing: Observation = {
  pods: [],
  replicaFailure: undefined,
  priorExits: new Map(),
  outcomeOf: () => undefined,
  findingOf: () => undefined,
};

/** The verdict when this is seen for `lastedMs`, looked at every half second. */
function verdictAfter(lastedMs: number, seen: Partial<Observation>) {
  const observation: Observation = { ...nothing, ...seen };
  let since: ReadonlyMap<string, number> = new Map();
  for (let nowMs = 0; ; nowMs += 500) {
    const result = judgeRollout(observation, config, since, nowMs);
    if (result.verdict.kind === 'failed' || nowMs >= lastedMs) return { verdict: result.verdict, atMs: nowMs };
    since = result.since;
  }
}

const waiting = (reason: string, message = ''): Partial<PodFacts> => ({ waiting: { reason, message } });
const exited = (exits: number, exitCode: number, reason = 'Error', message = ''): Partial<PodFacts> => ({
  exits,
  lastExit: { exitCode, signal: undefined, reason, message },
});
const pull = 'failed to pull and unpack image "registry.example/x:1": failed to resolve reference: ';

interface Case {
  readonly name: string;
  readonly pod?: Partial<PodFacts>;
  readonly replicaFailure?: string;
  readonly code: ErrorCode;
  readonly byMs: number;
  readonly notBeforeMs?: number;
}

const cases: readonly Case[] = [
  {
    name: 'a missing tag',
    pod: waiting('ErrImagePull', `${pull}registry.example/x:1: not found`),
    code: 'image_not_found',
    byMs: 0,
  },
  {
    name: 'a missing tag, in back-off',
    pod: waiting('ImagePullBackOff', `Back-off pulling image "x": ErrImagePull: ${pull}manifest unknown`),
    code: 'image_not_found',
    byMs: 0,
  },
  {
    name: 'refused credentials',
    pod: waiting('ErrImagePull', `${pull}unexpected status from HEAD request: 403 Forbidden`),
    code: 'image_denied',
    byMs: 0,
  },
  {
    name: 'a private name of Docker Hub',
    pod: waiting(
      'ErrImagePull',
      'pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed',
    ),
    code: 'image_denied',
    byMs: 0,
  },
  {
    name: 'a registry that stays away',
    pod: waiting('ErrImagePull', `${pull}dial tcp 10.0.0.9:5000: connect: connection refused`),
    code: 'image_pull_failed',
    byMs: 35_000,
    notBeforeMs: 30_000,
  },
  {
    name: 'a registry whose name is unknown',
    pod: waiting('ErrImagePull', `${pull}lookup registry.example: no such host`),
    code: 'image_pull_failed',
    byMs: 35_000,
    notBeforeMs: 30_000,
  },
  {
    name: 'an image for another machine',
    pod: waiting('ErrImagePull', 'no match for platform in manifest sha256:abc: not found'),
    code: 'image_invalid',
    byMs: 0,
  },
  {
    name: 'an invalid name',
    pod: waiting('InvalidImageName', 'invalid reference format'),
    code: 'image_invalid',
    byMs: 0,
  },
  {
    name: 'a root image where that is refused',
    pod: waiting('CreateContainerConfigError', 'container has runAsNonRoot and image will run as root'),
    code: 'app_config_invalid',
    byMs: 0,
  },
  {
    name: 'a Secret that the node has not seen yet, for long',
    pod: waiting('CreateContainerConfigError', 'secret "hf-x-v1" not found'),
    code: 'app_config_invalid',
    byMs: 10_000,
    notBeforeMs: 10_000,
  },
  {
    name: 'a command that does not exist',
    pod: exited(1, 128, 'StartError', 'exec: "/x": stat /x: no such file or directory'),
    code: 'app_config_invalid',
    byMs: 0,
  },
  {
    name: 'a binary of another machine',
    pod: exited(1, 128, 'StartError', 'exec /bin/x: exec format error'),
    code: 'image_invalid',
    byMs: 0,
  },
  { name: 'the second crash', pod: exited(2, 1), code: 'app_crashed', byMs: 0 },
  { name: 'a crash loop', pod: { ...exited(3, 1), ...waiting('CrashLoopBackOff') }, code: 'app_crashed', byMs: 0 },
  { name: 'a single crash and silence', pod: exited(1, 1), code: 'app_not_ready', byMs: 10_000, notBeforeMs: 10_000 },
  { name: 'an app that is mute', pod: { running: true }, code: 'app_not_ready', byMs: 10_000, notBeforeMs: 10_000 },
  {
    name: 'a pod without a node',
    pod: { scheduled: false, unschedulable: '0/3 nodes are available', ip: undefined },
    code: 'unschedulable',
    byMs: 20_000,
    notBeforeMs: 20_000,
  },
  {
    name: 'a quota',
    replicaFailure: 'pods "x" is forbidden: exceeded quota: small, requested: pods=1',
    code: 'quota_exceeded',
    byMs: 1_500,
    notBeforeMs: 1_500,
  },
  {
    name: 'a limit range',
    replicaFailure: 'pods "x" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi',
    code: 'quota_exceeded',
    byMs: 1_500,
  },
  {
    name: 'pod security',
    replicaFailure: 'pods "x" is forbidden: violates PodSecurity "restricted:latest"',
    code: 'app_config_invalid',
    byMs: 1_500,
  },
  {
    name: 'a namespace that is not complete, for long',
    replicaFailure:
      'pods "x" is forbidden: error looking up service account apps/default: serviceaccount "default" not found',
    code: 'app_config_invalid',
    byMs: 10_000,
    notBeforeMs: 10_000,
  },
  {
    name: 'a container that is never made',
    pod: waiting('ContainerCreating'),
    code: 'platform_error',
    byMs: 600_000,
    notBeforeMs: 600_000,
  },
];

for (const { name, pod, replicaFailure, code, byMs, notBeforeMs = 0 } of cases) {
  test(`${name} is ${code}`, () => {
    const { verdict, atMs } = verdictAfter(700_000, { pods: pod === undefined ? [] : [testPod(pod)], replicaFailure });
    assert.equal(verdict.kind, 'failed');
    assert.equal(verdict.symptom.code, code);
    assert.ok(atMs <= byMs && atMs >= notBeforeMs, `found after ${String(atMs)} ms`);
  });
}

test('ends of a container from before this start are not counted', () => {
  const pods = [testPod({ ...exited(5, 1), running: true })];
  assert.equal(verdictAfter(5_000, { pods, priorExits: new Map([['uid-a', 5]]) }).verdict.kind, 'waiting');
  assert.equal(verdictAfter(5_000, { pods, priorExits: new Map([['uid-a', 3]]) }).verdict.kind, 'failed');
});

test('one crash on each of two pods is as good as two of one', () => {
  const pods = [testPod(exited(1, 1)), testPod({ uid: 'uid-b', ...exited(1, 1) })];
  assert.equal(verdictAfter(0, { pods }).verdict.kind, 'failed');
});

test('a pod without a node is no trouble while another one has one', () => {
  const pods = [testPod({ running: true }), testPod({ uid: 'b', scheduled: false, unschedulable: 'no room' })];
  const { verdict } = verdictAfter(9_000, { pods });
  assert.equal(verdict.kind, 'waiting');
});

test('a kill for memory is told as such', () => {
  const { verdict } = verdictAfter(0, { pods: [testPod(exited(2, 137, 'OOMKilled'))] });
  assert.equal(verdict.kind, 'failed');
  assert.match(verdict.symptom.message, /memory/);
});

test('an app that is not ready in time is told what its port did instead', () => {
  const health = testPod({ running: true, probe: { wants: 'success', path: '/healthz' } });
  const cases: [outcome: ProbeOutcome, pod: PodFacts, words: RegExp][] = [
    [{ kind: 'refused' }, testPod({ running: true }), /on port 8080 within 10 s: nothing listens on port 8080$/],
    [
      { kind: 'silent' },
      testPod({ running: true }),
      /accepts connections on port 8080 but does not answer GET \/; .*`health_url`/,
    ],
    [{ kind: 'closed' }, testPod({ running: true }), /closes connections to port 8080 without an answer/],
    [{ kind: 'foreign', speaks: 'HTTP/2' }, testPod({ running: true }), /set `protocol = "h2c"`/],
    [{ kind: 'foreign', speaks: 'TLS' }, testPod({ running: true }), /not HTTP but TLS/],
    [{ kind: 'status', status: 503 }, health, /with 2xx or 3xx at \/healthz within 10 s: it answers 503 at \/healthz/],
  ];
  for (const [outcome, pod, words] of cases) {
    const { verdict } = verdictAfter(10_000, { pods: [pod], outcomeOf: () => outcome });
    assert.equal(verdict.kind, 'failed');
    assert.equal(verdict.symptom.code, 'app_not_ready');
    assert.match(verdict.symptom.message, words);
  }
});

test('a symptom that passes begins anew', () => {
  const away = { ...nothing, pods: [testPod(waiting('ErrImagePull', 'connection refused'))] };
  const fine = { ...away, pods: [testPod(waiting('ContainerCreating'))] };
  let { since } = judgeRollout(away, config, new Map(), 0);
  ({ since } = judgeRollout(fine, config, since, 30_000));
  assert.equal(judgeRollout(away, config, since, 40_000).verdict.kind, 'waiting');
});

test('while it waits it says what for, and when to look again at the latest', () => {
  const { verdict } = verdictAfter(0, { pods: [testPod({ running: true })] });
  assert.deepEqual(verdict, {
    kind: 'waiting',
    phase: 'start',
    message: 'the container runs, no answer yet',
    againMs: 10_000,
  });
});

test('a pod that no node has room for is waited for longer while a node is announced, within a bound', () => {
  const pods = [testPod({ scheduled: false, unschedulable: '0/3 nodes are available: 3 Insufficient cpu.' })];
  assert.equal(verdictAfter(60_000, { pods }).atMs, 20_000);
  const findingOf = () => ({ scaleUp: 'TriggeredScaleUp: pod triggered scale-up' });
  const waits = verdictAfter(600_000, { pods, findingOf });
  assert.equal(waits.verdict.kind, 'waiting');
  assert.match(waits.verdict.message, /waits for a node: .*a node is announced \(TriggeredScaleUp: pod triggered/);
  const failed = verdictAfter(2_000_000, { pods, findingOf });
  assert.equal(failed.verdict.kind, 'failed');
  assert.equal(failed.atMs, 900_000);
  assert.equal(failed.verdict.symptom.code, 'unschedulable');
});

test('an app that is certain to listen elsewhere fails in seconds, unless it still says something or its port answers', () => {
  const pods = [testPod({ running: true })];
  const refused = (): ProbeOutcome => ({ kind: 'refused' });
  const listener = { host: '127.0.0.1', port: 3000 };
  const certain = { elsewhere: { listener, isCertain: true, signature: '1' } };
  const failed = verdictAfter(10_000, { pods, outcomeOf: refused, findingOf: () => certain });
  assert.equal(failed.verdict.kind, 'failed');
  assert.equal(failed.atMs, 5_000);
  assert.match(failed.verdict.symptom.message, /listens on 127\.0\.0\.1:3000, not on PORT 8080/);
  let lines = 0;
  const talks = () => ({ elsewhere: { ...certain.elsewhere, signature: String((lines += 1)) } });
  assert.equal(verdictAfter(9_000, { pods, outcomeOf: refused, findingOf: talks }).verdict.kind, 'waiting');
  const silent = (): ProbeOutcome => ({ kind: 'silent' });
  assert.equal(verdictAfter(9_000, { pods, outcomeOf: silent, findingOf: () => certain }).verdict.kind, 'waiting');
  const unsure = () => ({ elsewhere: { ...certain.elsewhere, isCertain: false } });
  assert.equal(verdictAfter(9_000, { pods, outcomeOf: refused, findingOf: unsure }).verdict.kind, 'waiting');
  const late = verdictAfter(10_000, { pods, outcomeOf: refused, findingOf: unsure });
  assert.equal(late.verdict.kind, 'failed');
  assert.match(late.verdict.symptom.message, /within 10 s: the app listens on 127/);
});
