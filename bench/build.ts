/**
 * How long is it from the first call of an app that is a git repository to its answer, and which part is the build? Against
 * `buildah bud` of the same Dockerfile on this machine, which neither fetches a source nor pushes nor runs anything. Needs
 * KUBECONFIG and HOLDFAST_TEST_REGISTRY, whose node must reach this machine.
 */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { kubectl, registryHost } from '../test/e2e/cluster.ts';
import { hostAddress } from '../test/e2e/host-address.ts';
import { Release } from '../test/e2e/release.ts';
import { startGitServer } from '../test/support/git-server.ts';
import { callOnce, msBetween } from './rig/callers.ts';
import { removeNamespaces } from './rig/plain-deployment.ts';
import type { Bench, Question } from './rig/question.ts';
import { quantile, spread } from './rig/statistics.ts';
import { table } from './rig/table.ts';

const run = promisify(execFile);
const namespace = 'holdfast-bench-build';

interface Round {
  readonly callMs: number;
  readonly buildMs: number;
  readonly rolloutMs: number;
  readonly buildahMs: number;
}

export const build: Question = async (bench) => {
  const missing = ['KUBECONFIG', 'HOLDFAST_TEST_REGISTRY'].filter((name) => !process.env[name]);
  if (missing.length > 0) {
    bench.say(`build: left out, ${missing.join(' and ')} must name a cluster of test/cluster and its registry`);
    return undefined;
  }
  const holdfast = await startHoldfast(bench);
  const buildah = await startBuildah(bench);
  const rounds: Round[] = [];
  // The first one of each pulls the base image: not counted.
  for (let number = 0; number <= bench.options.rounds; number += 1) {
    const files = appOf(number);
    const first = number % 2 === 1 ? await buildah(files) : undefined;
    const called = await holdfast(number, files);
    const round = { ...called, buildahMs: first ?? (await buildah(files)) };
    if (number > 0) rounds.push(round);
    bench.say(`build: ${number} of ${bench.options.rounds}`);
  }
  return report(rounds);
};

/** The 20 lines that the figures of others are about; each round has a source of its own. */
function appOf(number: number): Record<string, string> {
  return {
    'server.mjs': `// round ${number}
import { createServer } from 'node:http';
const server = createServer((request, response) => response.end('round ${number}\\n'));
server.listen(process.env.PORT ?? 8080);
process.on('SIGTERM', () => server.close(() => process.exit(0)));
`,
    'package.json': '{ "name": "bench", "version": "1.0.0", "type": "module" }\n',
    Dockerfile: `FROM node:24-slim
WORKDIR /app
COPY package.json ./
RUN node -e "require('fs').writeFileSync('installed', 'yes')"
COPY server.mjs ./
USER 1000
CMD ["node", "server.mjs"]
`,
  };
}

type Files = Readonly<Record<string, string>>;

async function startHoldfast(
  bench: Bench,
): Promise<(number: number, files: Files) => Promise<Omit<Round, 'buildahMs'>>> {
  const { signal } = bench;
  const release = new Release(namespace);
  const login = { username: 'bench', password: 'password-of-the-bench' };
  const git = await startGitServer({ address: await hostAddress(), login });
  bench.after(() => git.close());
  await kubectl('create', 'namespace', namespace);
  bench.after(() => release.uninstall().catch(() => removeNamespaces(namespace, release.appsNamespace)));
  const ca = join(bench.folder, 'ca.crt');
  await writeFile(ca, git.ca);
  await kubectl(
    'create',
    'secret',
    'generic',
    'git',
    '-n',
    namespace,
    `--from-file=ca.crt=${ca}`,
    `--from-literal=password=${login.password}`,
  );
  await release.install(
    'registry.enabled=false',
    `externalRegistry.url=${registryHost()}`,
    'externalRegistry.insecure=true',
    'git.credentials[0].name=bench',
    `git.credentials[0].hosts[0]=${git.host}`,
    'git.credentials[0].existingSecret=git',
    'git.credentials[0].caKey=ca.crt',
    `git.credentials[0].username=${login.username}`,
    `builder.registryMirrors[0]=${registryHost()}`,
    `builder.insecureRegistries[0]=${registryHost()}`,
  );
  const [router = ''] = await release.routerUrls();
  const { hostname, port } = new URL(router);
  return async (number, files) => {
    const name = `round-${number}`;
    const repository = await git.repository(name);
    await repository.commit(files);
    await release.call('apps.apply', {
      apps: [{ name, path: `/${name}`, source: repository.url, git_auth: 'bench' }],
    });
    const { sentNs, firstByteNs } = await callOnce({ host: hostname, port: Number(port) }, `/${name}`, signal);
    const { versions } = await release.call('versions.list', { app: name });
    const timings = versions[0]?.timings;
    await release.call('apps.delete', { app: name });
    return {
      callMs: msBetween(sentNs, firstByteNs),
      buildMs: timings?.buildMs ?? Number.NaN,
      rolloutMs: timings?.rolloutMs ?? Number.NaN,
    };
  };
}

async function startBuildah(bench: Bench): Promise<(files: Files) => Promise<number>> {
  const { signal } = bench;
  const store = ['--root', join(bench.folder, 'storage'), '--runroot', join(bench.folder, 'run')];
  const base = `${registryHost()}/library/node:24-slim`;
  const buildah = (...args: string[]) => run('buildah', [...store, ...args], { signal, maxBuffer: 64 * 1024 * 1024 });
  // Its storage is mounted onto itself.
  bench.after(() =>
    run('umount', ['--recursive', '--quiet', join(bench.folder, 'storage', 'overlay')]).catch(() => undefined),
  );
  await buildah('pull', '--quiet', '--tls-verify=false', base);
  return async (files) => {
    const folder = join(bench.folder, 'context');
    await mkdir(folder, { recursive: true });
    for (const [path, text] of Object.entries(files)) await writeFile(join(folder, path), text);
    const beganMs = performance.now();
    await buildah('bud', '--quiet', '--isolation', 'chroot', '--layers', '--from', base, '--pull-never', folder);
    return performance.now() - beganMs;
  };
}

function report(rounds: readonly Round[]): string {
  const row = (what: string, ms: (round: Round) => number): string[] => {
    const times = rounds.map(ms);
    return [
      what,
      spread(times, 0),
      quantile(times, 0.9).toFixed(0),
      spread(
        rounds.map((round) => ms(round) / round.buildahMs),
        2,
      ),
    ];
  };
  return `${rounds.length} interleaved rounds, each a new app of a new repository, the base image on the node. Median (least–most).

${table(
  ['a 20-line Node app', 'ms', 'p90 ms', 'ratio to buildah'],
  [
    row('Holdfast: first call → first byte', ({ callMs }) => callMs),
    row('of it source, build and push (a Job in the cluster)', ({ buildMs }) => buildMs),
    row('of it rollout', ({ rolloutMs }) => rolloutMs),
    row('`buildah bud` alone, on the host', ({ buildahMs }) => buildahMs),
  ],
)}`;
}
