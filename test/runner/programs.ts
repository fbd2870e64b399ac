/** Provides the programs that tests run besides Node: installs missing ones from Debian, and a Go toolchain. */
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { output, run } from './command.ts';

/** Program → its Debian package. The last one is a Python module that Debian packages separately. */
const packages: Readonly<Record<string, string>> = {
  git: 'git',
  ssh: 'openssh-client',
  sshd: 'openssh-server',
  openssl: 'openssl',
  htpasswd: 'apache2-utils',
  'docker-registry': 'docker-registry',
  buildah: 'buildah',
  chromium: 'chromium',
  curl: 'curl',
  nghttp: 'nghttp2-client',
  h2load: 'nghttp2-client',
  python3: 'python3',
  cargo: 'cargo',
  composer: 'composer',
  javac: 'default-jdk-headless',
  mvn: 'maven',
  php: 'php-cli',
  ruby: 'ruby',
  'python3 -m ensurepip': 'python3-venv',
};

/** @returns the environment with a PATH that leads to all of them, and the path of h2spec. @throws naming what is missing where it cannot be installed. */
export async function providePrograms(options: {
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}): Promise<NodeJS.ProcessEnv> {
  const { signal } = options;
  // sshd and others are not on the PATH of every user.
  const path = [options.env['PATH'] ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin'].join(delimiter);
  const env = { ...options.env, PATH: path };
  const missing = await whichAreMissing(env, signal);
  if (missing.length > 0) {
    const names = [...new Set(missing.map((program) => packages[program] ?? program))];
    process.stdout.write(`installing ${names.join(', ')}\n`);
    // A package must not start a server of its own.
    const script = `
      if [ ! -e /usr/sbin/policy-rc.d ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
      fi
      apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ${names.join(' ')} >/dev/null`;
    const code = await run('sh', ['-c', script], { env, signal });
    const still = await whichAreMissing(env, signal);
    if (code !== 0 || still.length > 0)
      throw new Error(`tests run these programs, which are missing and could not be installed: ${still.join(', ')}`);
  }
  const go = await output('test/cluster/tools', ['go'], { env, signal });
  const h2spec = await output('test/cluster/tools', ['h2spec'], { env, signal });
  // A Go that is already on PATH keeps its place: its folder may hold other programs too, such as an older Node.
  const isOnPath = path.split(delimiter).includes(dirname(go));
  return { PATH: isOnPath ? path : [dirname(go), path].join(delimiter), HOLDFAST_TEST_H2SPEC: h2spec };
}

async function whichAreMissing(env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<string[]> {
  const missing: string[] = [];
  for (const program of Object.keys(packages)) {
    const [name = '', ...args] = program.split(' ');
    const found = (env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)));
    const isThere =
      found &&
      (args.length === 0 ||
        (await run(name, [...args, '--version'], { env, signal, onOutput: () => undefined })) === 0);
    if (!isThere) missing.push(program);
  }
  return missing;
}
