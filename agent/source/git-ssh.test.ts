/** Git by ssh, against OpenSSH's own server, run by this user on a free port. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '../../shared/wait/clock.ts';
import { defaultSourceLimits } from '../../shared/source/limits.ts';
import { createGitProgram } from './git-program.ts';
import { createGit } from './git.ts';
import { freePort } from '../../shared/net/testing/free-ports.ts';

const run = promisify(execFile);
const never = new AbortController().signal;
const sshd = '/usr/sbin/sshd';
const hasServer = await access(sshd).then(
  () => true,
  () => false,
);

/** @returns the port. */
async function startServer(t: TestContext, folder: string): Promise<number> {
  const port = await freePort();
  // Where the server separates its privileges; Debian makes it when the service starts.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true });
  const settings = [
    `HostKey ${folder}/host`,
    `AuthorizedKeysFile ${folder}/authorized`,
    `PidFile none`,
    'ListenAddress 127.0.0.1',
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'PermitRootLogin prohibit-password',
  ];
  await writeFile(join(folder, 'sshd_config'), `${settings.join('\n')}\n`);
  const server = spawn(sshd, ['-D', '-e', '-f', join(folder, 'sshd_config'), '-p', String(port)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.after(async () => {
    server.kill();
    if (server.exitCode === null) await once(server, 'exit');
  });
  let said = '';
  for await (const text of server.stderr
    .setEncoding('utf8')
    .iterator({ destroyOnReturn: false }) as AsyncIterable<string>) {
    said += text;
    if (said.includes('Server listening')) break;
  }
  server.stderr.resume();
  assert.match(said, /Server listening/);
  return port;
}

void test(
  'by ssh with a key and known hosts; another host key or no key is refused',
  { skip: hasServer ? false : 'needs OpenSSH server at /usr/sbin/sshd (apt-get install openssh-server)' },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-ssh-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    for (const name of ['host', 'other', 'key', 'stranger'])
      await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(folder, name)]);
    // As a file of a Secret: others may read it.
    await chmod(join(folder, 'key'), 0o644);
    await writeFile(join(folder, 'authorized'), await readFile(join(folder, 'key.pub')));
    const port = await startServer(t, folder);
    const hostLine = async (name: string): Promise<string> =>
      `[127.0.0.1]:${port} ${(await readFile(join(folder, `${name}.pub`), 'utf8')).split(' ').slice(0, 2).join(' ')}\n`;
    await mkdir(join(folder, 'with space'));
    await writeFile(join(folder, 'with space', 'known'), await hostLine('host'));
    await writeFile(join(folder, 'changed'), await hostLine('other'));
    await writeFile(join(folder, 'empty'), '');
    const hosts = [`127.0.0.1:${port}`];
    const ssh_key_file = join(folder, 'key');
    const known_hosts_file = join(folder, 'with space', 'known');
    const auths = [
      { name: 'good', hosts, ssh_key_file, known_hosts_file },
      { name: 'changed', hosts, ssh_key_file, known_hosts_file: join(folder, 'changed') },
      { name: 'unknown', hosts, ssh_key_file, known_hosts_file: join(folder, 'empty') },
      { name: 'stranger', hosts, ssh_key_file: join(folder, 'stranger'), known_hosts_file },
      { name: 'no-key', hosts },
    ];
    const workDir = join(folder, 'work');
    for (const path of [workDir, join(folder, 'home')]) await mkdir(path);
    const git = createGit({
      program: createGitProgram({ env: process.env, home: join(folder, 'home') }),
      auths,
      allowFiles: false,
      limits: defaultSourceLimits,
      fetchTimeoutMs: 20_000,
      workDir,
      clock: systemClock,
    });
    const repository = join(folder, 'app.git');
    await run('git', ['init', '--quiet', '--initial-branch=main', repository]);
    await writeFile(join(repository, 'index.html'), 'hello');
    const inside = ['-C', repository, '-c', 'user.name=test', '-c', 'user.email=test@git.example'];
    await run('git', [...inside, 'add', '.']);
    await run('git', [...inside, 'commit', '--quiet', '--message=one']);
    const commit = (await run('git', [...inside, 'rev-parse', 'HEAD'])).stdout.trim();
    const source = `ssh://${userInfo().username}@127.0.0.1:${port}${repository}`;

    assert.equal(await git.resolve({ source, git_auth: 'good' }, never), commit);
    const tree = await git.unpack({ source, git_auth: 'good' }, commit, join(folder, 'tree'), never);
    assert.equal(tree.files, 1);
    for (const [git_auth, message] of [
      ['changed', /Host key verification failed/],
      ['unknown', /Host key verification failed/],
      ['stranger', /Permission denied/],
      ['no-key', /has no ssh_key_file/],
      [undefined, /needs `git_auth`/],
    ] as const)
      await assert.rejects(git.resolve({ source, git_auth }, never), { code: 'source_denied', message });
    await assert.rejects(git.resolve({ source: `${source}-none`, git_auth: 'good' }, never), {
      code: 'source_not_found',
    });
    assert.deepEqual(await readdir(workDir), []);
  },
);
