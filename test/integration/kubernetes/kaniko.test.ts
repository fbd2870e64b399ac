/** Kaniko builds for real: Jobs, contexts, logs, digests, and every way in which a build fails. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { jobName } from '../../../agent/images/kaniko/build-names.ts';
import type { KanikoBuilder } from '../../../agent/images/kaniko/create-kaniko-builder.ts';
import type { BuildRequest } from '../../../agent/images/builder.ts';
import type { ErrorCode } from '../../../shared/error-codes.ts';
import { AppError } from '../../../shared/errors.ts';
import { listen, openBuildGround, type BuildGround, type Heard } from './builds.ts';
import { startPrivateRegistry } from './private-registry.ts';
import { eventually, openCluster, within, type Cluster } from './cluster.ts';

interface Listed {
  readonly items: readonly { readonly metadata: { readonly name: string }; readonly spec?: unknown }[];
}

describe('an image built by a Kaniko Job', { timeout: 600_000 }, () => {
  const afters: (() => Promise<void>)[] = [];
  let cluster: Cluster;
  let ground: BuildGround;
  let builder: KanikoBuilder;

  before(async () => {
    const scope = { after: (end: unknown) => void afters.unshift(end as () => Promise<void>) };
    cluster = await openCluster(scope);
    await cluster.patch(`/api/v1/namespaces/${cluster.namespace}`, {
      metadata: { labels: { 'pod-security.kubernetes.io/enforce': 'baseline' } },
    });
    ground = await openBuildGround(scope, cluster);
    builder = ground.builder();
  });
  after(async () => {
    for (const end of afters) await end();
  });

  const namesOf = async (kind: 'jobs' | 'pods' | 'secrets', { tag }: BuildRequest): Promise<string[]> => {
    const group = kind === 'jobs' ? '/apis/batch/v1' : '/api/v1';
    const { items } = await cluster.get<Listed>(`${group}/namespaces/${cluster.namespace}/${kind}`);
    return items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith(jobName(tag)));
  };
  const nothingLeft = (request: BuildRequest): Promise<void> =>
    eventually(async () => {
      const kinds = ['jobs', 'pods', 'secrets'] as const;
      return (await Promise.all(kinds.map((kind) => namesOf(kind, request)))).flat().length === 0;
    }, within(30_000));

  /** Resolves when a line of the build matches. */
  function said(pattern: RegExp): { readonly heard: Heard; readonly came: Promise<void> } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const heard: Heard = listen({
      onLine(line) {
        heard.lines.push(line);
        if (pattern.test(line)) resolve();
      },
    });
    return { heard, came: promise };
  }

  async function failsAs(
    t: TestContext,
    request: BuildRequest,
    code: ErrorCode,
    options: { readonly by?: KanikoBuilder; readonly withinMs?: number } = {},
  ): Promise<AppError & { readonly lines: string[] }> {
    const { by = builder, withinMs = 20_000 } = options;
    ground.lead(by);
    const heard = listen();
    const began = performance.now();
    try {
      await by.build(request, heard);
    } catch (error) {
      const tookMs = performance.now() - began;
      assert(error instanceof AppError, String(error));
      t.diagnostic(`${error.code} after ${tookMs.toFixed(0)} ms: ${error.message.slice(0, 300)}`);
      assert.equal(error.code, code, `${error.message}\n${heard.lines.join('\n')}`);
      assert.ok(tookMs < withinMs, `found after ${tookMs.toFixed(0)} ms`);
      return Object.assign(error, { lines: heard.lines });
    } finally {
      await by.cancel(request.tag);
      ground.lead(builder);
    }
    return assert.fail('it was built');
  }

  it('has the digest that the registry has, its log came live, and nothing of the build is left', async (t) => {
    const request = await ground.request(
      {
        Dockerfile:
          'FROM busybox:1\nARG COLOUR\nARG TOKEN\nCOPY hello /hello\nRUN echo "colour $COLOUR" && echo "token is $TOKEN"\n',
        hello: 'world',
      },
      { args: { COLOUR: 'blue $(HOME)' }, secretArgs: { TOKEN: 'quite-secret-value' } },
    );
    const heard = listen();
    const began = performance.now();
    const digest = await builder.build(request, heard);
    t.diagnostic(`built in ${(performance.now() - began).toFixed(0)} ms; ${heard.phases.join(' | ')}`);
    t.diagnostic(heard.lines.join('\n'));
    assert.match(digest, /^sha256:[0-9a-f]{64}$/);
    assert.equal(digest, await ground.digestOf(request.image));
    assert.ok(heard.lines.includes('colour blue $(HOME)'));
    assert.ok(heard.lines.includes('token is ***'));
    assert.ok(!heard.lines.join('\n').includes('quite-secret-value'));
    assert.ok(heard.lines.some((line) => line.startsWith('the build context is here')));
    await nothingLeft(request);
  });

  it('takes its Dockerfile and other files of a preset beside the tree', async () => {
    const request = await ground.request(
      { 'app/main.txt': 'from the tree' },
      {
        dockerfile: '.holdfast-Dockerfile',
        extraFiles: { '.holdfast-Dockerfile': 'FROM busybox:1\nCOPY app /app\nRUN cat /app/main.txt\n' },
      },
    );
    const heard = listen();
    await builder.build(request, heard);
    assert.ok(heard.lines.includes('from the tree'));
  });

  it('keeps secrets out of the Job and its command line, and away from whoever may not read Secrets', async () => {
    const request = await ground.request(
      { Dockerfile: 'FROM busybox:1\nARG TOKEN\nRUN sleep 30\n' },
      { secretArgs: { TOKEN: 'quite-secret-value' } },
    );
    const { heard, came } = said(/RUN sleep 30/);
    const building = builder.build(request, heard);
    building.catch(() => undefined);
    await Promise.race([came, building]);
    const { items } = await cluster.get<Listed>(`/apis/batch/v1/namespaces/${cluster.namespace}/jobs`);
    const job = JSON.stringify(items);
    assert.ok(job.includes('--build-arg=TOKEN"'));
    assert.ok(!job.includes('quite-secret-value'));
    await builder.cancel(request.tag);
    await assert.rejects(building, { code: 'cancelled' });
    await nothingLeft(request);
  });

  it('is joined by an agent that comes later, which serves its context too, and is built once', async () => {
    const request = await ground.request({
      Dockerfile: 'FROM busybox:1\nCOPY Dockerfile /x\nRUN sleep 4; echo slept\n',
    });
    // The first agent ends before the context is fetched: its port is dead from the beginning.
    ground.lead(undefined);
    const first = ground.builder();
    ground.lead(undefined);
    const leaving = new AbortController();
    const building = first.build(request, listen({ signal: leaving.signal }));
    building.catch(() => undefined);
    await eventually(async () => (await namesOf('pods', request)).length === 1, within(20_000));
    leaving.abort(new AppError('cancelled', 'the lead is lost'));
    await assert.rejects(building, { code: 'cancelled' });
    await first.close();

    const second = ground.builder();
    assert.deepEqual(await second.underWay(within(5_000)), [request.tag]);
    const [pod] = await namesOf('pods', request);
    const { heard, came } = said(/RUN sleep/);
    const joined = second.build(request, heard);
    await Promise.race([came, joined]);
    assert.deepEqual(await namesOf('pods', request), [pod]);
    // And once more in the middle of the build.
    const third = ground.builder();
    const [digest, again] = await Promise.all([joined, third.build(request, listen())]);
    assert.equal(digest, again);
    assert.equal(digest, await ground.digestOf(request.image));
    await nothingLeft(request);
    ground.lead(builder);
  });

  it('that ended while nobody watched gives its digest to the next agent', async () => {
    const request = await ground.request({ Dockerfile: 'FROM busybox:1\nRUN sleep 1; echo done\n' });
    ground.lead(builder);
    const leaving = new AbortController();
    const { heard, came } = said(/RUN sleep/);
    const building = builder.build(request, { ...heard, signal: leaving.signal });
    building.catch(() => undefined);
    await Promise.race([came, building]);
    leaving.abort(new AppError('cancelled', 'the lead is lost'));
    await assert.rejects(building, { code: 'cancelled' });
    const path = `/apis/batch/v1/namespaces/${cluster.namespace}/jobs/${jobName(request.tag)}`;
    await eventually(async () => {
      const { status } = await cluster.get<{ readonly status?: { readonly succeeded?: number } }>(path);
      return status?.succeeded === 1;
    }, within(30_000));
    assert.deepEqual(await builder.underWay(within(5_000)), []);
    const digest = await ground.builder().build(request, listen());
    assert.equal(digest, await ground.digestOf(request.image));
    ground.lead(builder);
  });

  it('fails as build_failed with step, exit code and last lines, and is built anew when asked again', async (t) => {
    const request = await ground.request({ Dockerfile: 'FROM busybox:1\nRUN echo trying; echo oh no >&2; exit 7\n' });
    ground.lead(builder);
    await assert.rejects(builder.build(request, listen()), (error: AppError) => {
      t.diagnostic(error.message);
      assert.equal(error.code, 'build_failed');
      assert.match(error.message, /RUN echo trying.* exit code 7/);
      const logs = error.data?.['logs'] as string[];
      assert.ok(logs.includes('oh no'));
      assert.equal(error.data?.['exitCode'], 7);
      return true;
    });
    const again = await failsAs(t, request, 'build_failed');
    assert.ok(again.lines.includes('trying'), 'it ran again');
  });

  it('fails as dockerfile_invalid where the Dockerfile is wrong, missing or has no such stage', async (t) => {
    await failsAs(t, await ground.request({ Dockerfile: 'FROM busybox:1\nFOO bar\n' }), 'dockerfile_invalid');
    await failsAs(t, await ground.request({ other: 'x' }), 'dockerfile_invalid');
    await failsAs(
      t,
      await ground.request({ Dockerfile: 'FROM busybox:1\n' }, { target: 'nope' }),
      'dockerfile_invalid',
    );
  });

  it('fails as base_image_not_found, naming the image', async (t) => {
    const { message } = await failsAs(
      t,
      await ground.request({ Dockerfile: 'FROM nothing-here:9\n' }),
      'base_image_not_found',
    );
    assert.match(message, /nothing-here/);
  });

  it('fails as build_failed where a file to copy is missing', async (t) => {
    const { message } = await failsAs(
      t,
      await ground.request({ Dockerfile: 'FROM busybox:1\nCOPY missing /x\n' }),
      'build_failed',
    );
    assert.match(message, /missing/);
  });

  it('fails as registry_unavailable where nothing listens', async (t) => {
    const request = await ground.request({ Dockerfile: 'FROM busybox:1\n' });
    const [host] = ground.registryHost.split(':');
    const by = ground.builder({ registry: { url: `${String(host)}:5999` } });
    await failsAs(t, { ...request, image: `${String(host)}:5999/it/app:${request.tag}` }, 'registry_unavailable', {
      by,
      withinMs: 40_000,
    });
  });

  it('is pushed to a private registry with TLS by an authority of its own; a wrong password is told at once', async (t) => {
    const { host, ca } = await startPrivateRegistry(t, ground.ownHost);
    const request = await ground.request({ Dockerfile: 'FROM busybox:1\nRUN echo private\n' });
    const own = { ...request, image: `${host}/it/app:${request.tag}` };
    const registry = { url: host, insecure: false };
    const loginOf = (password: string) => ({
      auths: { [host]: { auth: Buffer.from(`holdfast:${password}`).toString('base64') } },
    });
    const right = ground.builder({ registry, ca, dockerConfig: loginOf('right-password') });
    assert.match(await right.build(own, listen()), /^sha256:/);
    const wrong = ground.builder({ registry, ca, dockerConfig: loginOf('wrong-password') });
    await failsAs(t, own, 'push_denied', { by: wrong });
    const untrusting = ground.builder({ registry, dockerConfig: loginOf('right-password') });
    const { message } = await failsAs(t, own, 'registry_unavailable', { by: untrusting });
    assert.match(message, /ca_file/);
  });

  it('fails as build_out_of_memory', async (t) => {
    // A small program: a large one reads its own pages again and again for a minute before the kernel gives up.
    const request = await ground.request({ Dockerfile: 'FROM busybox:1\nRUN tail /dev/zero\n' });
    const by = ground.builder({ builder: { memory: '192Mi' } });
    await failsAs(t, request, 'build_out_of_memory', { by, withinMs: 60_000 });
  });

  it('fails as build_timeout at its deadline', async (t) => {
    const request = await ground.request({ Dockerfile: 'FROM busybox:1\nRUN echo begun; sleep 120\n' });
    const by = ground.builder({ builder: { timeout_secs: 10 } });
    const { lines } = await failsAs(t, request, 'build_timeout', { by });
    assert.ok(lines.includes('begun'));
  });

  it('fails as unschedulable after its grace', async (t) => {
    const request = await ground.request({ Dockerfile: 'FROM busybox:1\n' });
    const by = ground.builder({ builder: { node_selector: { no: 'such-node' }, unschedulable_grace_secs: 2 } });
    const { phase } = await failsAs(t, request, 'unschedulable', { by, withinMs: 8_000 });
    assert.equal(phase, 'schedule');
  });

  it('fails as builder_unavailable where the executor or our own image cannot be pulled, naming which', async (t) => {
    const request = await ground.request({ Dockerfile: 'FROM busybox:1\n' });
    const executor = ground.builder({ builder: { kaniko_image: 'no-executor:1' } });
    assert.match(
      (await failsAs(t, request, 'builder_unavailable', { by: executor })).message,
      /kaniko_image = no-executor:1/,
    );
    const own = ground.builder({ builder: { fetch_image: 'no-holdfast:1' } });
    assert.match(
      (await failsAs(t, request, 'builder_unavailable', { by: own })).message,
      /fetch_image = no-holdfast:1/,
    );
  });

  it('fails as builder_unavailable where its pod or its Job is taken away', async (t) => {
    for (const kind of ['pod', 'job'] as const) {
      const request = await ground.request({ Dockerfile: 'FROM busybox:1\nRUN sleep 60\n' });
      const { heard, came } = said(/RUN sleep/);
      const building = builder.build(request, heard);
      building.catch(() => undefined);
      await Promise.race([came, building]);
      const [pod] = await namesOf('pods', request);
      const job = `/apis/batch/v1/namespaces/${cluster.namespace}/jobs/${jobName(request.tag)}?propagationPolicy=Background`;
      await cluster.delete(kind === 'pod' ? `/api/v1/namespaces/${cluster.namespace}/pods/${String(pod)}` : job);
      await assert.rejects(building, (error: AppError) => {
        t.diagnostic(`${kind}: ${error.message}`);
        return error.code === 'builder_unavailable';
      });
      await nothingLeft(request);
    }
  });

  it('fails as quota_exceeded where the namespace has no room', async (t) => {
    const quotas = `/api/v1/namespaces/${cluster.namespace}/resourcequotas`;
    await cluster.create(quotas, { metadata: { name: 'none' }, spec: { hard: { pods: '0' } } });
    await eventually(async () => {
      const { status } = await cluster.get<{ readonly status?: { readonly hard?: object } }>(`${quotas}/none`);
      return status?.hard !== undefined;
    }, within(10_000));
    const request = await ground.request({ Dockerfile: 'FROM busybox:1\n' });
    await failsAs(t, request, 'quota_exceeded', { withinMs: 10_000 });
    await cluster.delete(`${quotas}/none`);
  });
});
