/** What a build pod is, and is not. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { builder as builderSection } from '../../config/builder-section.ts';
import { registry as registrySection } from '../../config/registry-section.ts';
import { source as sourceSection } from '../../config/source-sections.ts';
import { buildSelector, jobName, labelsOfBuild } from './build-names.ts';
import { jobManifest, secretManifest, type BuildConfig, type RegistryFiles } from './job.ts';

interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: unknown }[];
  readonly securityContext: Record<string, unknown>;
  readonly resources: { readonly requests: Record<string, string>; readonly limits: Record<string, string> };
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

interface JobSpec {
  readonly backoffLimit: number;
  readonly activeDeadlineSeconds: number;
  readonly ttlSecondsAfterFinished: number;
  readonly template: {
    readonly spec: Record<string, unknown> & {
      readonly initContainers: readonly [Container];
      readonly containers: readonly [Container];
      readonly volumes: readonly Record<string, { readonly sizeLimit?: string }>[];
    };
  };
}

const tag = 'ab'.repeat(20);
const request = {
  tag,
  image: `registry.example/team/app:${tag}`,
  dockerfile: 'deploy/Dockerfile',
  args: { A: 'x $(HOME) $', HTTPS_PROXY: 'http://other:3128' },
  secretArgs: { TOKEN: 'secret-value' },
  target: 'final',
  app: 'shop',
  version: 3,
};

function configOf(builder: object = {}, registry: object = {}): BuildConfig {
  return {
    builder: builderSection.parse({
      fetch_image: 'holdfast:1',
      agent_url: 'http://agent:7400',
      args: { HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: 'local' },
      ...builder,
    }),
    registry: registrySection.parse({ url: 'registry.example', project: 'team', ...registry }),
    source: sourceSection.parse({ max_bytes: 1_000_000 }),
    kubernetes: {
      namespace: 'holdfast',
      apps_namespace: 'apps',
      lease_name: 'holdfast-agent',
      pod_name: 'a',
      image_pull_secrets: [],
    },
  };
}

function made(config = configOf(), files: RegistryFiles = {}) {
  const manifest = jobManifest({ request, config, files, secretName: 'its-secret', tokenHash: 'hash' });
  const { spec } = manifest as unknown as { readonly spec: JobSpec };
  const pod = spec.template.spec;
  return { manifest, spec, pod, fetch: pod.initContainers[0], kaniko: pod.containers[0] };
}

describe('the Job of a build', () => {
  it('has a name that follows from the tag, and labels to find it by', () => {
    const { manifest } = made();
    assert.equal(manifest.metadata?.name, `hf-build-${tag}`);
    assert.equal(jobName('x'.repeat(128)).length <= 57, true);
    assert.notEqual(jobName('a_b'), jobName('a.b'));
    const labels = labelsOfBuild({ tag, app: 'shop', agents: 'holdfast-agent' });
    assert.deepEqual(manifest.metadata?.labels, labels);
    for (const pair of buildSelector('holdfast-agent', tag).split(',')) {
      const [key = '', value] = pair.split('=');
      assert.equal(labels[key], value);
    }
  });

  it('is tried once, for as long as configured, and kept for a while', () => {
    const { spec } = made(configOf({ timeout_secs: 90.5, ttl_secs: 7 }));
    assert.deepEqual([spec.backoffLimit, spec.activeDeadlineSeconds, spec.ttlSecondsAfterFinished], [0, 91, 7]);
  });

  it('gives the executor its flags, as documented', () => {
    const { kaniko } = made(
      configOf({ registry_mirrors: ['mirror.example'], insecure_registries: ['plain.example:5000'] }),
    );
    assert.deepEqual(kaniko.args, [
      '--context=dir:///kaniko/buildcontext/tree',
      '--dockerfile=/kaniko/buildcontext/tree/deploy/Dockerfile',
      `--destination=registry.example/team/app:${tag}`,
      '--build-arg=HTTPS_PROXY=http://other:3128',
      '--build-arg=NO_PROXY=local',
      '--build-arg=A=x $$(HOME) $$',
      '--build-arg=TOKEN',
      '--target=final',
      '--cache=true',
      '--cache-repo=registry.example/team/cache',
      '--registry-mirror=mirror.example',
      '--insecure-registry=plain.example:5000',
      '--digest-file=/dev/termination-log',
      '--push-retry=4',
      '--image-download-retry=1',
      '--label=holdfast.dev/app=shop',
      '--force',
    ]);
  });

  it('speaks plain HTTP only where that is said, and never leaves certificates unchecked', () => {
    const insecure = made(configOf({ cache: false }, { insecure: true })).kaniko.args ?? [];
    assert.ok(insecure.includes('--insecure') && insecure.includes('--insecure-registry=registry.example'));
    assert.ok(!insecure.some((arg) => /cache|insecure-pull|skip-tls/.test(arg)));
    const files = { ca: 'CA', clientCert: 'CERT', clientKey: 'KEY' };
    const tls = made(configOf(), files).kaniko;
    assert.ok(tls.args?.includes('--registry-certificate=registry.example=/kaniko/registry/ca.crt'));
    assert.ok(
      tls.args?.includes(
        '--registry-client-cert=registry.example=/kaniko/registry/client.crt,/kaniko/registry/client.key',
      ),
    );
    assert.deepEqual(tls.volumeMounts.find(({ name }) => name === 'registry')?.mountPath, '/kaniko/registry');
  });

  it('has the environment of the published executor, and secrets by reference alone', () => {
    const { kaniko, fetch, manifest } = made();
    const plain = kaniko.env
      .filter(({ value }) => value !== undefined)
      .map(({ name, value }) => `${name}=${String(value)}`);
    assert.deepEqual(plain, [
      'USER=root',
      'HOME=/root',
      'PATH=/usr/local/bin:/kaniko',
      'DOCKER_CONFIG=/kaniko/.docker/',
      'SSL_CERT_DIR=/kaniko/ssl/certs',
    ]);
    const byReference = { secretKeyRef: { name: 'its-secret', key: 'arg.TOKEN' } };
    assert.deepEqual(kaniko.env.find(({ name }) => name === 'TOKEN')?.valueFrom, byReference);
    assert.deepEqual(fetch.env.find(({ name }) => name === 'HOLDFAST_CONTEXT_TOKEN')?.valueFrom, {
      secretKeyRef: { name: 'its-secret', key: 'token' },
    });
    assert.equal(fetch.env.find(({ name }) => name === 'HOLDFAST_CONTEXT_URL')?.value, 'http://agent:7400/contexts');
    assert.ok(!JSON.stringify(manifest).includes('secret-value'));
  });

  it('has no service account, no privileges, and is fit for baseline; its own part for restricted', () => {
    const { pod, fetch, kaniko } = made();
    assert.equal(pod['automountServiceAccountToken'], false);
    assert.equal(pod['enableServiceLinks'], false);
    assert.equal(pod['restartPolicy'], 'Never');
    assert.deepEqual(pod['securityContext'], { seccompProfile: { type: 'RuntimeDefault' } });
    assert.deepEqual(fetch.securityContext, {
      runAsNonRoot: true,
      runAsUser: 1000,
      runAsGroup: 1000,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    assert.equal(kaniko.securityContext['allowPrivilegeEscalation'], false);
    assert.equal(kaniko.securityContext['privileged'], undefined);
  });

  it('has room, resources and a place as configured', () => {
    const { pod, kaniko } = made(
      configOf({
        memory: '3Gi',
        cpus: '2',
        node_selector: { pool: 'builds' },
        tolerations: [{ key: 'builds', operator: 'Exists' }],
        image_pull_secrets: ['pull'],
      }),
    );
    assert.deepEqual(kaniko.resources, {
      requests: { cpu: '2', memory: String(768 * 1024 ** 2) },
      limits: { memory: '3Gi' },
    });
    assert.equal(pod.volumes[0]?.['emptyDir']?.sizeLimit, '2000000');
    assert.deepEqual(pod['nodeSelector'], { pool: 'builds' });
    assert.deepEqual((pod['tolerations'] as unknown[]).at(-1), { key: 'builds', operator: 'Exists' });
    assert.deepEqual(pod['imagePullSecrets'], [{ name: 'pull' }]);
  });
});

describe('the Secret of a build', () => {
  it('goes with its Job, and holds token, credentials, certificates and secret arguments', () => {
    const secret = secretManifest({
      name: 'its-secret',
      job: { name: 'hf-build-x', uid: 'u', namespace: 'holdfast' },
      labels: labelsOfBuild({ tag, app: 'shop', agents: 'holdfast-agent' }),
      token: 'token',
      dockerConfig: { auths: { 'registry.example': { auth: 'dTpw' } } },
      files: { ca: 'CA' },
      secretArgs: { TOKEN: 'secret-value' },
    }) as { readonly metadata: { readonly ownerReferences: unknown }; readonly stringData: Record<string, string> };
    assert.deepEqual(secret.metadata.ownerReferences, [
      { apiVersion: 'batch/v1', kind: 'Job', name: 'hf-build-x', uid: 'u' },
    ]);
    assert.deepEqual(secret.stringData, {
      token: 'token',
      'config.json': '{"auths":{"registry.example":{"auth":"dTpw"}}}',
      'ca.crt': 'CA',
      'arg.TOKEN': 'secret-value',
    });
  });
});
