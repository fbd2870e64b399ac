/**
 * Images of sources for the contract test on Kubernetes: all of agent/images with a fake builder, which gives the test app's image in
 * the registry another tag. Real builders are tested in test/integration/kubernetes and test/e2e.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Builder } from '../../agent/images/builder.ts';
import { createImages } from '../../agent/images/create-images.ts';
import type { Images } from '../../agent/images/images.ts';
import type { Registry } from '../../agent/registry/registry.ts';
import type { Sources } from '../../agent/source/sources.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import { createFakeStore } from '../../agent/testing/images.ts';
import { brokenLine, type Buildable } from './ground.ts';

export interface BuiltImages {
  readonly images: Images;
  readonly sources: Pick<Sources, 'resolve'>;
  buildable(kind: 'good' | 'broken'): Buildable;
  close(): Promise<void>;
}

interface State {
  readonly kind: 'good' | 'broken';
  begun: number;
  readonly gate: PromiseWithResolvers<void>;
}

const server = 'https://git.example/';

/** @param host of the registry, plain HTTP, with the image library/test-app:1. */
export async function createBuiltImages(host: string, registry: Registry): Promise<BuiltImages> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-built-'));
  await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\n');
  const states = new Map<string, State>();
  const sources = {
    async resolve({ source = '' }: { readonly source?: string | undefined }) {
      if (source.startsWith(server)) return `git:${createHash('sha1').update(source).digest('hex')}`;
      throw new AppError('source_unsupported', 'only what a test makes can be built here', { phase: 'source' });
    },
    tree: async (_spec: unknown, digest: string) => ({ folder, digest, release() {} }),
  };
  const builder: Builder = {
    kind: 'test',
    async build({ tag, tree }, { signal, onLine }) {
      const state = states.get(tree.digest);
      if (state === undefined) throw new Error('a source that no test made');
      state.begun += 1;
      onLine('building');
      const left = Promise.withResolvers<never>();
      const leave = (): void => left.reject(signal.reason as Error);
      signal.addEventListener('abort', leave, { once: true });
      try {
        await Promise.race([state.gate.promise, left.promise]);
      } finally {
        signal.removeEventListener('abort', leave);
      }
      if (state.kind === 'good') return await tagTestApp(host, tag, signal);
      onLine(brokenLine);
      throw new AppError('build_failed', 'step RUN false failed', { phase: 'build' });
    },
    cancel: () => Promise.resolve(),
    underWay: () => Promise.resolve([]),
    close: () => Promise.resolve(),
  };
  const images = createImages({
    repository: `${host}/library/test-app`,
    registry,
    sources,
    builder,
    store: createFakeStore(),
    limits: { maxRunning: 2, maxQueued: 10, retryMs: 1_000, keepVersions: 10 },
    args: {},
    clock: systemClock,
    log: silentLog,
  });
  await images.adopt([], AbortSignal.timeout(10_000));
  return {
    images,
    sources,
    buildable(kind) {
      const source = `${server}${randomUUID()}.git`;
      const state: State = { kind, begun: 0, gate: Promise.withResolvers() };
      states.set(`git:${createHash('sha1').update(source).digest('hex')}`, state);
      return {
        spec: { image: undefined, source },
        begun: () => Promise.resolve(state.begun),
        async letEnd() {
          state.gate.resolve();
        },
      };
    },
    async close() {
      await images.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** The image has its manifest under one more tag. */
async function tagTestApp(host: string, tag: string, signal: AbortSignal): Promise<string> {
  const at = (reference: string): string => `http://${host}/v2/library/test-app/manifests/${reference}`;
  const kinds = ['oci.image.index.v1', 'oci.image.manifest.v1', 'docker.distribution.manifest.list.v2', 'docker.distribution.manifest.v2']; // prettier-ignore
  const accept = kinds.map((kind) => `application/vnd.${kind}+json`).join(', ');
  const found = await fetch(at('1'), { headers: { accept }, signal });
  if (found.status !== 200) throw new Error(`the registry has no test app: ${found.status}`);
  const headers = { 'content-type': found.headers.get('content-type') ?? '' };
  const put = await fetch(at(tag), { method: 'PUT', headers, body: await found.arrayBuffer(), signal });
  await put.arrayBuffer();
  if (put.status !== 201) throw new Error(`the registry took no tag: ${put.status}`);
  return put.headers.get('docker-content-digest') ?? '';
}
