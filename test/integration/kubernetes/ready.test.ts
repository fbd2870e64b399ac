/** When a version is ready on a real cluster, and how it is told that it never will be. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { KubernetesPlatform } from '../../../agent/platform/kubernetes/platform.ts';
import { AppError } from '../../../shared/errors.ts';
import { answerOf, eventually, openCluster, runOf, startOptions, within, type Cluster } from './cluster.ts';

const ends = `process.on('SIGTERM', () => process.exit(0))`;
const serve = (body: string, where = 'process.env.PORT'): string[] => [
  'node',
  '-e',
  `require('http').createServer((q, s) => { ${body} }).listen(${where}, () => console.log('listening on', ${JSON.stringify(where)})); ${ends}`,
];

describe('a version is ready when it answers', { timeout: 300_000 }, () => {
  const afters: (() => Promise<void>)[] = [];
  let cluster: Cluster;
  let platform: KubernetesPlatform;

  before(async () => {
    cluster = await openCluster({ after: (end) => void afters.push(end as () => Promise<void>) });
    platform = cluster.platform();
  });
  after(async () => {
    for (const end of afters) await end();
  });

  async function failureOf(run: ReturnType<typeof runOf>): Promise<{ error: AppError; tookMs: number }> {
    const beganMs = performance.now();
    const error = await platform.start(run, startOptions()).then(
      () => assert.fail('it started'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof AppError);
    await platform.discard(run.app, run.version, within(10_000));
    return { error, tookMs: performance.now() - beganMs };
  }

  it('with 404 at /, and not with an open port that never answers', async () => {
    const found = runOf({ name: 'lost', command: serve('s.statusCode = 404; s.end()') });
    await platform.start(found, startOptions());
    assert.equal(platform.targets('lost', 1).length, 1);
    await platform.discard('lost', 1, within(10_000));
    const config = { container: { start_deadline_secs: 5 } };
    const { error } = await failureOf(runOf({ name: 'mute', command: serve(''), config }));
    assert.equal(error.code, 'app_not_ready');
    assert.match(error.message, /accepts connections on port 8080 but does not answer GET \//);
  });

  it('by the host of its route, for the kubelet too', async () => {
    const body = `s.statusCode = q.headers.host === 'shop.example' ? 200 : 400; s.end()`;
    const run = runOf({ name: 'choosy', path: 'shop.example/', health_url: '/healthz', command: serve(body) });
    await platform.start(run, startOptions());
    const pods = `/api/v1/namespaces/${cluster.namespace}/pods?labelSelector=holdfast.dev/app=choosy`;
    interface Pods {
      readonly items: readonly {
        readonly status: { readonly conditions: readonly { type: string; status: string }[] };
      }[];
    }
    await eventually(async () => {
      const { items } = await cluster.get<Pods>(pods);
      return items.some(({ status }) =>
        status.conditions.some((each) => each.type === 'Ready' && each.status === 'True'),
      );
    }, within(15_000));
    await platform.discard('choosy', 1, within(10_000));
  });

  it('an app on loopback is told so within seconds', async () => {
    const { error, tookMs } = await failureOf(
      runOf({
        name: 'inward',
        command: [
          'node',
          '-e',
          `require('http').createServer((q, s) => s.end()).listen(3000, '127.0.0.1', () => console.log('listening on 127.0.0.1:3000')); ${ends}`,
        ],
      }),
    );
    assert.equal(error.code, 'app_not_ready');
    assert.match(error.message, /listens on 127\.0\.0\.1:3000, not on PORT 8080: .*`port = 3000`/);
    assert.deepEqual(error.data?.['logs'], ['listening on 127.0.0.1:3000']);
    assert.ok(tookMs < 25_000, `took ${tookMs} ms`);
  });

  it('nothing in its command is expanded', async () => {
    const odd = '$$ $(PORT) $$(PORT) $HOME $';
    const run = runOf({
      name: 'literal',
      command: [
        'node',
        '-e',
        `require('http').createServer((q, s) => s.end(process.argv[1])).listen(process.env.PORT); ${ends}`,
        odd,
      ],
    });
    await platform.start(run, startOptions());
    assert.equal(await answerOf(platform.targets('literal', 1)[0] ?? assert.fail()), odd);
    await platform.discard('literal', 1, within(10_000));
  });

  it('a node that is announced is waited for, until no node will come', async () => {
    const core = `/api/v1/namespaces/${cluster.namespace}`;
    const run = runOf({
      name: 'huge',
      cpus: '900',
      config: { kubernetes: { unschedulable_grace_secs: 4, scale_up_timeout_secs: 14 } },
    });
    const said: string[] = [];
    const beganMs = performance.now();
    const started = platform.start(run, startOptions({ onPhase: (_phase, message) => said.push(message) }));
    started.catch(() => undefined);
    interface Pods {
      readonly items: readonly { readonly metadata: { readonly name: string; readonly uid: string } }[];
    }
    let pod: Pods['items'][number] | undefined;
    await eventually(async () => {
      const { items } = await cluster.get<Pods>(`${core}/pods?labelSelector=holdfast.dev/app=huge`);
      pod = items[0];
      return pod !== undefined;
    }, within(10_000));
    const { name, uid } = pod?.metadata ?? assert.fail();
    await cluster.create(`${core}/events`, {
      metadata: { name: 'scale-up' },
      type: 'Normal',
      reason: 'TriggeredScaleUp',
      message: 'pod triggered scale-up: [{pool 1->2 (max: 5)}]',
      involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: cluster.namespace, name, uid },
      source: { component: 'cluster-autoscaler' },
      lastTimestamp: new Date().toISOString(),
    });
    await assert.rejects(started, { code: 'unschedulable' });
    assert.ok(performance.now() - beganMs >= 13_000, 'the grace was prolonged');
    assert.ok(
      said.some((message) => /a node is announced \(TriggeredScaleUp/.test(message)),
      said.join('\n'),
    );
    await platform.discard('huge', 1, within(10_000));
  });
});
