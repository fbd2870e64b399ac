/** What the build scenarios share: a private registry by TLS, a git server on the host's side, apps made of sources. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BuildView } from '../../../shared/protocol/views.ts';
import type { GitServer } from '../../support/git-server.ts';
import { kubectl } from '../cluster.ts';
import type { Release } from '../release.ts';

export interface BuildGround {
  readonly release: Release;
  readonly git: GitServer;
}

const server = `
import { createServer } from 'node:http';
const version = process.env.SAYS ?? 'none';
const server = createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(request.url === '/healthz' ? '{}' : JSON.stringify({ version }));
});
setTimeout(() => server.listen(process.env.PORT), Number(process.env.OPENS_AFTER_MS ?? 0));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
`;

/** An app that says what it was built with. @param steps further lines of its Dockerfile */
export function appOf(says: string, ...steps: readonly string[]): Record<string, string> {
  return {
    'server.mjs': server,
    Dockerfile: [
      'FROM node:24-slim',
      'WORKDIR /app',
      'COPY server.mjs ./',
      ...steps,
      `ENV SAYS=${says}`,
      'USER 1000',
      'CMD ["node", "server.mjs"]',
      '',
    ].join('\n'),
  };
}

/** `[[app]]` of a git source. @param keys further lines of it */
export function gitApp(name: string, url: string, keys = ''): string {
  return `[[app]]\nname = "${name}"\npath = "/${name}"\nsource = "${url}"\ngit_auth = "test"\nhealth_url = "/healthz"\n${keys}\n`;
}

/** `holdfast apply -f FILE`. */
export async function applySource({ release }: BuildGround, file: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-e2e-'));
  try {
    await writeFile(join(folder, 'app.toml'), file);
    const { code, stderr } = await release.cli('apply', '-f', join(folder, 'app.toml'));
    assert.equal(code, 0, stderr);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Builds that the agent tells of, newest first. */
export async function buildsOf({ release }: BuildGround, app?: string): Promise<readonly BuildView[]> {
  return (await release.call('builds.list', app === undefined ? {} : { app })).builds;
}

interface Jobs {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly uid: string };
    readonly status: { readonly active?: number };
  }[];
}

export async function jobs({ release }: BuildGround): Promise<Jobs['items']> {
  const text = await kubectl('get', 'jobs', '-n', release.namespace, '-o', 'json');
  return (JSON.parse(text) as Jobs).items.filter(({ metadata }) => metadata.name.startsWith('hf-build-'));
}
