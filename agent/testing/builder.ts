/** A real builder server with buildah behind it, and the agent's delegate for it. */
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { TestContext } from 'node:test';
import { systemClock } from '../../shared/wait/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { defaultSourceLimits } from '../../shared/source/limits.ts';
import { packTree } from '../../shared/source/pack.ts';
import { walkTree } from '../../shared/source/tree-walk.ts';
import type { BuildRequest } from '../images/builder.ts';
import type { DelegateBuilderDeps } from '../images/delegate/delegate-builder.ts';

export const testToken = 'token-of-the-builder-0123456789';

/** Packs the build context of a folder as tar.gz. */
export const packContext: DelegateBuilderDeps['pack'] = ({ folder, extraFiles }) => {
  const out = new PassThrough();
  async function* packed(): AsyncGenerator<Buffer> {
    const { signal } = new AbortController();
    const listing = await walkTree({ root: folder, limits: defaultSourceLimits, signal });
    yield* packTree({ root: folder, listing, extraFiles, signal }) as AsyncIterable<Buffer>;
  }
  pipeline(Readable.from(packed()), out).catch((error: unknown) => out.destroy(error as Error));
  return out;
};

export async function folderOf(t: TestContext, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-delegate-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return folder;
}

export function requestOf(folder: string, image: string, more: Partial<BuildRequest> = {}): BuildRequest {
  return {
    tag: 'tag1',
    image,
    tree: { folder, digest: `sha256:${'0'.repeat(64)}` },
    dockerfile: 'Dockerfile',
    extraFiles: {},
    args: {},
    secretArgs: {},
    target: undefined,
    app: 'hello',
    version: 1,
    ...more,
  };
}

export interface Heard {
  readonly phases: string[];
  readonly lines: string[];
}

export const delegateDeps = (url: string, token: string | undefined = testToken): DelegateBuilderDeps => ({
  url,
  token,
  ca: undefined,
  pack: packContext,
  timeoutMs: 120_000,
  log: silentLog,
  clock: systemClock,
});
