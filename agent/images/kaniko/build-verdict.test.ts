/** What is seen of a build's Job and pod, and what follows from it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { builder as builderSection } from '../../config/builder-section.ts';
import { buildPodFacts, jobFacts, type BuildPodFacts, type ContainerFacts, type JobFacts } from './build-facts.ts';
import { judgeBuild, type BuildObservation, type BuildVerdict } from './build-verdict.ts';

const builder = builderSection.parse({
  fetch_image: 'holdfast:1',
  agent_url: 'http://agent:7400',
  memory: '1Gi',
  timeout_secs: 60,
  unschedulable_grace_secs: 30,
});
const nothing: ContainerFacts = { waiting: undefined, running: false, ended: undefined };
const running: ContainerFacts = { ...nothing, running: true };
const ended = (exitCode: number, reason = 'Error', message = ''): ContainerFacts => ({
  ...nothing,
  ended: { exitCode, reason, message },
});
const waiting = (reason: string, message: string): ContainerFacts => ({ ...nothing, waiting: { reason, message } });
const job: JobFacts = {
  name: 'j',
  uid: 'u',
  tag: 't',
  image: 'i',
  secretName: 's',
  tokenHash: 'h',
  deleting: false,
  state: 'running',
  reason: '',
  message: '',
};
const pod: BuildPodFacts = {
  name: 'p',
  uid: 'pu',
  jobUid: 'u',
  deleting: false,
  disruption: undefined,
  failed: undefined,
  unschedulable: undefined,
  scheduled: true,
  fetch: ended(0, 'Completed'),
  build: running,
};

/** What is said of it at once, and after it has stayed so. */
function judged(seen: Partial<BuildObservation>, afterMs = 0): BuildVerdict {
  const whole = { job, pod, hadPod: true, podRefused: undefined, ...seen };
  const first = judgeBuild(whole, { builder }, new Map(), 1_000);
  return afterMs === 0 ? first.verdict : judgeBuild(whole, { builder }, first.since, 1_000 + afterMs).verdict;
}

function failsAs(verdict: BuildVerdict, code: string, message: RegExp): void {
  assert.equal(verdict.kind, 'failed');
  assert.ok(verdict.kind === 'failed' && verdict.code === code, JSON.stringify(verdict));
  assert.match(verdict.message, message);
}

describe('a build', () => {
  it('has succeeded when the executor has, whatever happens to its pod and Job then', () => {
    const done = { ...pod, deleting: true, build: ended(0, 'Completed', 'sha256:x') };
    assert.deepEqual(judged({ pod: done, job: undefined }), { kind: 'succeeded', termination: 'sha256:x' });
    assert.deepEqual(judged({ pod: undefined, job: { ...job, state: 'complete' } }), {
      kind: 'succeeded',
      termination: undefined,
    });
  });

  it('has ended when the executor has: its log says why', () => {
    assert.deepEqual(judged({ pod: { ...pod, build: ended(7) } }), { kind: 'ended', exitCode: 7 });
  });

  it('is out of memory, or out of time', () => {
    failsAs(judged({ pod: { ...pod, build: ended(137, 'OOMKilled') } }), 'build_out_of_memory', /1Gi/);
    const late: JobFacts = { ...job, state: 'failed', reason: 'DeadlineExceeded' };
    failsAs(judged({ job: late, pod: undefined }), 'build_timeout', /60 s/);
    failsAs(judged({ job: late, pod: { ...pod, deleting: true, build: ended(143) } }), 'build_timeout', /60 s/);
  });

  it('whose pod is taken away waits a moment for the reason of the Job, then is passing', () => {
    const leaving = { ...pod, deleting: true, build: ended(137) };
    assert.equal(judged({ pod: leaving }).kind, 'waiting');
    failsAs(judged({ pod: leaving }, 5_000), 'builder_unavailable', /was removed/);
    failsAs(judged({ pod: undefined }, 5_000), 'builder_unavailable', /was removed/);
    const drained = { ...pod, disruption: 'the node is drained' };
    failsAs(judged({ pod: drained }, 5_000), 'builder_unavailable', /the node is drained/);
  });

  it('whose Job is deleted is passing', () => {
    failsAs(judged({ job: undefined }), 'builder_unavailable', /deleted from outside/);
    failsAs(judged({ job: { ...job, deleting: true } }), 'builder_unavailable', /being deleted/);
  });

  it('that was evicted is passing, unless it needs more disk than it may have', () => {
    const gone = (message: string) => ({ pod: { ...pod, build: nothing, failed: { reason: 'Evicted', message } } });
    failsAs(judged(gone('The node was low on resource: memory.')), 'builder_unavailable', /low on resource/);
    failsAs(judged(gone('Usage of EmptyDir volume "context" exceeds the limit "1Mi".')), 'build_failed', /more disk/);
  });

  it('is told why its context could not be fetched', () => {
    const of = (fetch: ContainerFacts) => ({
      pod: { ...pod, fetch, build: nothing, failed: { reason: '', message: '' } },
    });
    failsAs(
      judged(of(ended(1, 'Error', 'no route'))),
      'builder_unavailable',
      /agent_url = http:\/\/agent:7400\): no route/,
    );
    failsAs(judged(of(ended(2, 'Error', 'the archive holds a device'))), 'source_invalid', /a device/);
  });

  it('whose images cannot be pulled fails soon where that lasts, and later where it may pass, naming the key', () => {
    const missing = { pod: { ...pod, build: waiting('ErrImagePull', 'kaniko:1: not found') } };
    failsAs(judged(missing), 'builder_unavailable', /\[builder\] kaniko_image = \S+: kaniko:1: not found/);
    const away = { pod: { ...pod, fetch: waiting('ImagePullBackOff', 'dial tcp: i/o timeout'), build: nothing } };
    assert.equal(judged(away, 30_000).kind, 'waiting');
    failsAs(judged(away, 35_000), 'builder_unavailable', /fetch_image = holdfast:1/);
    failsAs(
      judged({ pod: { ...pod, build: waiting('InvalidImageName', '') } }),
      'builder_unavailable',
      /InvalidImageName/,
    );
  });

  it('waits for a node for its grace', () => {
    const homeless = {
      pod: { ...pod, scheduled: false, unschedulable: '0/3 nodes are available', fetch: nothing, build: nothing },
    };
    const at = judged(homeless);
    assert.ok(at.kind === 'waiting' && at.againMs === 30_000 && /0\/3 nodes/.test(at.message));
    failsAs(judged(homeless, 30_000), 'unschedulable', /0\/3 nodes/);
  });

  it('that gets no pod is told why: quota, or the rules of the namespace', () => {
    const without = { pod: undefined, hadPod: false };
    assert.equal(judged(without, 59_000).kind, 'waiting');
    failsAs(judged(without, 60_000), 'builder_unavailable', /no pod/);
    failsAs(
      judged({ ...without, podRefused: 'pods "x" is forbidden: exceeded quota: q' }),
      'quota_exceeded',
      /exceeded quota/,
    );
    failsAs(
      judged({ ...without, podRefused: 'violates PodSecurity "restricted:latest"' }),
      'builder_unavailable',
      /PodSecurity/,
    );
  });

  it('goes on as long as it runs, and tells where it is', () => {
    const said = (seen: Partial<BuildObservation>): string => {
      const verdict = judged(seen);
      return verdict.kind === 'waiting' ? verdict.message : verdict.kind;
    };
    assert.equal(said({}), 'building the image');
    assert.equal(said({ pod: { ...pod, fetch: running, build: nothing } }), 'fetching the build context');
    assert.equal(said({ pod: { ...pod, fetch: nothing, build: nothing } }), 'starting the build pod');
    assert.equal(said({ pod: undefined, hadPod: false }), 'waiting for a build pod');
    assert.equal(judged({}, 3_600_000).kind, 'waiting');
  });
});

describe('facts', () => {
  it('of a Job: a failure is seen before its pods are gone', () => {
    const target = { type: 'FailureTarget', status: 'True', reason: 'DeadlineExceeded' } as const;
    assert.deepEqual(
      jobFacts({ metadata: { name: 'j', uid: 'u' }, status: { conditions: [target] } }).reason,
      'DeadlineExceeded',
    );
    const suspended = { type: 'Failed', status: 'False' } as const;
    assert.equal(jobFacts({ metadata: { name: 'j' }, status: { conditions: [suspended] } }).state, 'running');
  });

  it('of a pod: containers by name', () => {
    const base = { image: 'i', imageID: 'i', ready: false, restartCount: 0 };
    const facts = buildPodFacts({
      metadata: { name: 'p', ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', name: 'j', uid: 'u' }] },
      status: {
        phase: 'Pending',
        conditions: [{ type: 'PodScheduled', status: 'True' }],
        initContainerStatuses: [
          { ...base, name: 'fetch-context', state: { terminated: { exitCode: 0, reason: 'Completed' } } },
        ],
        containerStatuses: [
          { ...base, name: 'injected', state: { running: {} } },
          { ...base, name: 'kaniko', state: { waiting: { reason: 'ErrImagePull' } } },
        ],
      },
    });
    assert.equal(facts.jobUid, 'u');
    assert.equal(facts.fetch.ended?.exitCode, 0);
    assert.equal(facts.build.running, false);
    assert.equal(facts.build.waiting?.reason, 'ErrImagePull');
  });
});
