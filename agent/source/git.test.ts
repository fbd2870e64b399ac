import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { deflateSync } from 'node:zlib';
import { systemClock } from '../../shared/wait/clock.ts';
import { defaultSourceLimits, type SourceLimits } from '../../shared/source/limits.ts';
import { certificates } from '../../test/support/certificates.ts';
import { startGitServer, type GitServer } from '../../test/support/git-server.ts';
import { createGitProgram } from './git-program.ts';
import { createGit, type Git } from './git.ts';
import type { GitAuth } from './git-login.ts';

const run = promisify(execFile);
const never = new AbortController().signal;
const identity = ['-c', 'user.name=test', '-c', 'user.email=test@git.example', '-c', 'init.defaultBranch=main'];

interface Bench {
  readonly git: Git;
  readonly folder: string;
  /** Where trees go. */
  readonly target: string;
  /** Of the agent; empty when nothing is under way. */
  readonly workDir: string;
}

interface BenchOptions {
  readonly auths?: readonly GitAuth[];
  readonly limits?: Partial<SourceLimits>;
  readonly fetchTimeoutMs?: number;
  readonly env?: Record<string, string | undefined>;
  readonly program?: string;
  readonly memoryBytes?: number;
}

async function createBench(t: TestContext, options: BenchOptions = {}): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-git-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const workDir = join(folder, 'work');
  const home = join(folder, 'home');
  for (const path of [workDir, home]) await mkdir(path);
  const { env = process.env, program = 'git', memoryBytes } = options;
  const git = createGit({
    program: createGitProgram({ env, home, program, ...(memoryBytes === undefined ? {} : { memoryBytes }) }),
    auths: options.auths ?? [],
    allowFiles: true,
    limits: { ...defaultSourceLimits, ...options.limits },
    fetchTimeoutMs: options.fetchTimeoutMs ?? 20_000,
    workDir,
    clock: systemClock,
  });
  return { git, folder, target: join(folder, 'tree'), workDir };
}

/** A repository on disk: `git` runs in its folder. */
async function createRepository(
  bench: Bench,
): Promise<{ url: string; git: (...args: string[]) => Promise<string>; path: string }> {
  const path = join(bench.folder, 'repository');
  await mkdir(path);
  const git = async (...args: string[]): Promise<string> =>
    (await run('git', ['-C', path, ...identity, ...args])).stdout.trim();
  await git('init', '--quiet', '--initial-branch=main');
  return { url: `file://${path}`, git, path };
}

async function httpsServer(t: TestContext, login?: { username: string; password: string }): Promise<GitServer> {
  const server = await startGitServer({ address: '127.0.0.1', ...(login ? { login } : {}) });
  t.after(() => server.close());
  return server;
}

async function caFile(bench: Bench, ca: string): Promise<string> {
  const file = join(bench.folder, 'ca.pem');
  await writeFile(file, ca);
  return file;
}

async function listen(t: TestContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

void test('HEAD, branches, tags and full commits are resolved, and a missing ref is reported', async (t) => {
  const bench = await createBench(t);
  const { git } = bench;
  const { url, git: run, path } = await createRepository(bench);
  await assert.rejects(git.resolve({ source: url }, never), { code: 'source_not_found', message: /has no HEAD/ });
  await writeFile(join(path, 'a'), '1');
  await run('add', '.');
  await run('commit', '--quiet', '--message=one');
  const one = await run('rev-parse', 'HEAD');
  await run('tag', '--annotate', '--message=x', 'v1');
  await run('tag', 'light');
  await run('branch', 'feature/x');
  await run('branch', 'cafe123');
  await run('commit', '--quiet', '--allow-empty', '--message=two');
  const two = await run('rev-parse', 'HEAD');
  const resolve = (ref?: string): Promise<string> => git.resolve({ source: url, ref }, never);
  assert.deepEqual([await resolve(), await resolve('HEAD'), await resolve('main')], [two, two, two]);
  for (const ref of ['v1', 'light', 'feature/x', 'refs/tags/v1', 'refs/heads/feature/x', 'cafe123', one])
    assert.equal(await resolve(ref), one, ref);
  await assert.rejects(resolve('x'), { code: 'source_not_found', message: /has no branch or tag x$/ });
  await assert.rejects(resolve(one.slice(0, 12)), { code: 'source_not_found', message: /all 40 digits/ });
  await assert.rejects(git.resolve({ source: `${url}-none` }, never), { code: 'source_not_found' });
});

void test('the tree of a commit is what was committed, whatever its attributes say', async (t) => {
  const bench = await createBench(t);
  const repository = await createRepository(bench);
  const { path } = repository;
  await mkdir(join(path, 'web'));
  await writeFile(join(path, '.gitattributes'), 'secret export-ignore\nid export-subst\n*.bin filter=lfs\n');
  await writeFile(join(path, 'secret'), 's');
  await writeFile(join(path, 'id'), '$Format:%H$');
  await writeFile(join(path, 'x.bin'), 'version https://git-lfs.github.com/spec/v1\n');
  await writeFile(join(path, 'web', 'index.html'), 'hello');
  await writeFile(join(path, 'web', 'run'), '#!');
  await chmod(join(path, 'web', 'run'), 0o755);
  await repository.git('add', '.');
  await repository.git('commit', '--quiet', '--message=one');
  const commit = await repository.git('rev-parse', 'HEAD');
  const source = { source: repository.url };
  const whole = await bench.git.unpack(source, commit, bench.target, never);
  assert.equal(whole.files, 6);
  assert.deepEqual((await readdir(bench.target)).toSorted(), ['.gitattributes', 'id', 'secret', 'web', 'x.bin']);
  assert.equal(await readFile(join(bench.target, 'id'), 'utf8'), '$Format:%H$');
  const part = await bench.git.unpack({ ...source, dir: 'web' }, commit, `${bench.target}2`, never);
  assert.deepEqual((await readdir(`${bench.target}2`)).toSorted(), ['index.html', 'run']);
  assert.notEqual(part.digest, whole.digest);
  for (const dir of ['none', 'id', 'web/index.html'])
    await assert.rejects(bench.git.unpack({ ...source, dir }, commit, `${bench.target}3`, never), {
      code: 'source_not_found',
      message: new RegExp(`has no folder ${dir}`),
    });
  assert.deepEqual(await readdir(bench.workDir), []);
});

void test('a repository that is hostile or over a bound is refused, and nothing is left', async (t) => {
  const bench = await createBench(t, { limits: { maxBytes: 20 * 1024 ** 2, maxFiles: 100 } });
  const repository = await createRepository(bench);
  const commitOf = async (tree: string): Promise<string> => repository.git('commit-tree', '-m', 'x', tree);
  /** Trees that `git add` would not make. */
  const treeOf = async (lines: string): Promise<string> => {
    await writeFile(join(bench.folder, 'listing'), lines);
    return (
      await run('sh', ['-c', `git -C ${repository.path} mktree --missing <${bench.folder}/listing`])
    ).stdout.trim();
  };
  const blobOf = async (content: string): Promise<string> => {
    await writeFile(join(bench.folder, 'blob'), content);
    return repository.git('hash-object', '-w', join(bench.folder, 'blob'));
  };
  await run('truncate', ['--size=30M', join(bench.folder, 'zeros')]);
  const zeros = await repository.git('hash-object', '-w', join(bench.folder, 'zeros'));
  const x = await blobOf('x');
  const trees: [string, RegExp][] = [
    [`120000 blob ${await blobOf('/etc/passwd')}\tpasswd\n`, /passwd is a link that leads out/],
    [`120000 blob ${await blobOf('../../x')}\tup\n`, /up is a link that leads out/],
    [`100644 blob ${zeros}\tzeros\n`, /larger than 20 MiB/],
    [`100644 blob ${x}\t${'n'.repeat(1_000_000)}\n`, /path of more than/],
    [Array.from({ length: 200 }, (_, index) => `100644 blob ${x}\tf${index}\n`).join(''), /more than 100 files/],
  ];
  for (const [lines, message] of trees) {
    const commit = await commitOf(await treeOf(lines));
    await repository.git('update-ref', 'refs/heads/main', commit);
    const refused = bench.git.unpack({ source: repository.url }, commit, bench.target, never);
    await assert.rejects(refused, { code: 'source_invalid', message });
    assert.deepEqual(await readdir(bench.workDir), []);
    await assert.rejects(access(bench.target));
  }
  // `..` as a name: git refuses to archive it, and the unpacking would.
  const evil = await commitOf(await treeOf(`040000 tree ${await treeOf(`100644 blob ${x}\tx\n`)}\t..\n`));
  await repository.git('update-ref', 'refs/heads/main', evil);
  const refused = bench.git.unpack({ source: repository.url }, evil, bench.target, never);
  await assert.rejects(refused, { code: 'source_invalid', message: /\.\./ });
});

void test('a fetch that grows over the bound is ended while it runs', async (t) => {
  const bench = await createBench(t, { limits: { maxBytes: 2 * 1024 ** 2 } });
  const repository = await createRepository(bench);
  await run('sh', ['-c', `head -c 15000000 /dev/urandom >${repository.path}/noise`]);
  await repository.git('add', '.');
  await repository.git('commit', '--quiet', '--message=one');
  const commit = await repository.git('rev-parse', 'HEAD');
  await assert.rejects(bench.git.unpack({ source: repository.url }, commit, bench.target, never), {
    code: 'source_invalid',
    message: /larger than 2 MiB/,
  });
  assert.deepEqual(await readdir(bench.workDir), []);
});

void test('https with a private authority and a password: an error names what is wrong, but never the password', async (t) => {
  const server = await httpsServer(t, { username: 'reader', password: 'correct horse' });
  const repository = await server.repository('app');
  const commit = await repository.commit({ 'index.html': 'hello' });
  const bench = await createBench(t);
  const ca_file = await caFile(bench, server.ca);
  const base = { hosts: [server.host], username: 'reader', ca_file };
  const { git } = await createBench(t, {
    auths: [
      { ...base, name: 'good', password: 'correct horse' },
      { ...base, name: 'wrong', password: 'wrong horse' },
      { ...base, name: 'no-ca', password: 'correct horse', ca_file: undefined },
      { ...base, name: 'elsewhere', hosts: ['git.example'], password: 'correct horse' },
      { ...base, name: 'only-ca', username: undefined },
    ],
  });
  const source = repository.url;
  assert.equal(await git.resolve({ source, ref: 'main', git_auth: 'good' }, never), commit);
  const tree = await git.unpack({ source, git_auth: 'good' }, commit, bench.target, never);
  assert.equal(tree.files, 1);
  for (const [git_auth, message] of [
    ['wrong', /Authentication failed/],
    ['no-ca', /certificate/i],
    ['elsewhere', /may not be used for 127\.0\.0\.1:\d+: its hosts are git\.example/],
    ['only-ca', /could not read Username/],
    ['unknown', /no \[\[git_auth\]\] unknown/],
  ] as const)
    await assert.rejects(git.resolve({ source, git_auth }, never), (error: { code?: string; message: string }) => {
      assert.equal(error.code, 'source_denied', error.message);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /horse/);
      return true;
    });
  await assert.rejects(git.resolve({ source: `${source}-none`, git_auth: 'good' }, never), {
    code: 'source_not_found',
  });
});

void test('a password is sent to no other host, wherever the server leads', async (t) => {
  const bench = await createBench(t);
  const pki = await certificates(join(bench.folder, 'pki'), '127.0.0.1');
  const seen: (string | undefined)[] = [];
  const thief = createTlsServer({ cert: pki.cert, key: pki.key }, (request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
  });
  const thiefPort = await listen(t, thief);
  const asked: (string | undefined)[] = [];
  const server = createTlsServer({ cert: pki.cert, key: pki.key }, (request, response) => {
    asked.push(request.headers.authorization);
    if (request.headers.authorization === undefined)
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
    else response.writeHead(302, { Location: `https://127.0.0.1:${thiefPort}${request.url}` }).end();
  });
  const port = await listen(t, server);
  const ca_file = await caFile(bench, pki.ca);
  const auth = { name: 'a', hosts: [`127.0.0.1:${port}`], username: 'u', password: 'correct horse', ca_file };
  const { git } = await createBench(t, { auths: [auth] });
  const source = `https://127.0.0.1:${port}/app.git`;
  await assert.rejects(git.resolve({ source, git_auth: 'a' }, never), { code: 'source_denied' });
  assert.ok(
    asked.some((value) => value !== undefined),
    'the server got the password',
  );
  assert.ok(seen.length > 0, 'the other host was asked');
  assert.deepEqual([...new Set(seen)], [undefined]);
});

void test('what a server leads to is held to https, and http is refused but for this machine', async (t) => {
  const bench = await createBench(t);
  const pki = await certificates(join(bench.folder, 'pki'), '127.0.0.1');
  let plain = 0;
  const inside = createServer((_request, response) => {
    plain += 1;
    response.writeHead(404).end();
  });
  const insidePort = await listen(t, inside);
  const server = createTlsServer({ cert: pki.cert, key: pki.key }, (request, response) => {
    response.writeHead(302, { Location: `http://127.0.0.1:${insidePort}${request.url}` }).end();
  });
  const port = await listen(t, server);
  const auth = { name: 'a', hosts: [`127.0.0.1:${port}`], ca_file: await caFile(bench, pki.ca) };
  const { git } = await createBench(t, { auths: [auth] });
  await assert.rejects(git.resolve({ source: `https://127.0.0.1:${port}/a`, git_auth: 'a' }, never));
  assert.equal(plain, 0);
  await assert.rejects(git.resolve({ source: 'http://git.example/a' }, never), {
    code: 'source_invalid',
    message: /can be read and changed in transit/,
  });
  await assert.rejects(git.resolve({ source: `http://127.0.0.1:${insidePort}/a` }, never), {
    code: 'source_not_found',
  });
});

void test('a server that does not answer is unavailable, in time, and leaves no process', async (t) => {
  const bench = await createBench(t, { fetchTimeoutMs: 300 });
  const port = await listen(
    t,
    createTcpServer(() => {}),
  );
  await assert.rejects(bench.git.resolve({ source: `http://127.0.0.1:${port}/a` }, never), {
    code: 'source_unavailable',
    message: /did not answer within 0\.3 s/,
  });
  const closed = createTcpServer();
  const closedPort = await listen(t, closed);
  closed.close();
  await assert.rejects(bench.git.resolve({ source: `http://127.0.0.1:${closedPort}/a` }, never), {
    code: 'source_unavailable',
  });
  const left = new AbortController();
  const waiting = bench.git.resolve({ source: `http://127.0.0.1:${port}/a` }, left.signal);
  left.abort(new Error('enough'));
  await assert.rejects(waiting, { message: 'enough' });
});

void test('an agent without git says so', async (t) => {
  const { git } = await createBench(t, { program: 'git-that-is-not-there' });
  await assert.rejects(git.resolve({ source: 'https://git.example/a' }, never), {
    code: 'source_unsupported',
    message: /need the program git-that-is-not-there/,
  });
});

void test('a server that gives out only its refs is asked for the ref', async (t) => {
  const bench = await createBench(t);
  const repository = await createRepository(bench);
  await repository.git('commit', '--quiet', '--allow-empty', '--message=one');
  const one = await repository.git('rev-parse', 'HEAD');
  // Protocol 0, and a git that says no, as old servers do.
  const bin = join(bench.folder, 'bin');
  await mkdir(bin);
  const { stdout } = await run('sh', ['-c', 'command -v git']);
  const script = `#!/bin/sh
case "$*" in *" +${one}:"*) echo "error: Server does not allow request for unadvertised object ${one}" >&2; exit 128;; esac
exec ${stdout.trim()} "$@"
`;
  await writeFile(join(bin, 'git'), script, { mode: 0o755 });
  const { git } = await createBench(t, { env: { ...process.env, PATH: [bin, process.env['PATH']].join(delimiter) } });
  const source = { source: repository.url, ref: 'main' };
  assert.equal((await git.unpack(source, one, bench.target, never)).files, 0);
  await repository.git('commit', '--quiet', '--allow-empty', '--message=two');
  await assert.rejects(git.unpack(source, one, `${bench.target}2`, never), {
    code: 'source_not_found',
    message: /main no longer is [0-9a-f]{40}/,
  });
});

void test('a pack of a few bytes that says it makes gigabytes is refused by memory, not by the end of the agent', async (t) => {
  const bench = await createBench(t, { memoryBytes: 192 * 1024 ** 2 });
  const { url, git, path } = await createRepository(bench);
  const pack = deltaBomb(24);
  assert.ok(pack.bytes.length < 100_000);
  const file = join(bench.folder, 'bomb.pack');
  await writeFile(file, pack.bytes);
  await run('sh', ['-c', 'git -C "$1" index-pack --stdin < "$2"', 'sh', path, file]);
  await git('update-ref', 'refs/heads/main', pack.commit);
  const spec = { source: url };
  assert.equal(await bench.git.resolve(spec, never), pack.commit);
  await assert.rejects(bench.git.unpack(spec, pack.commit, bench.target, never), {
    code: 'source_invalid',
    message: /out of memory|malloc failed/i,
  });
  assert.deepEqual(await readdir(bench.workDir), []);
});

/** A commit with a file of 16 MiB and one that is `times` that file, told as a delta. https://git-scm.com/docs/pack-format */
function deltaBomb(times: number): { bytes: Buffer; commit: string } {
  const block = Buffer.alloc(0xffffff, 'x');
  const id = (type: string, size: number, parts: Iterable<Buffer>): Buffer => {
    const hash = createHash('sha1').update(`${type} ${size}\0`);
    for (const part of parts) hash.update(part);
    return hash.digest();
  };
  const blob = id('blob', block.length, [block]);
  const bomb = id(
    'blob',
    block.length * times,
    Array.from({ length: times }, () => block),
  );
  const tree = Buffer.concat([Buffer.from('100644 a\0'), blob, Buffer.from('100644 b\0'), bomb]);
  const who = 'a <a@git.example> 1 +0000';
  const commit = Buffer.from(
    `tree ${id('tree', tree.length, [tree]).toString('hex')}\nauthor ${who}\ncommitter ${who}\n\nx\n`,
  );
  const copyBlock = Buffer.from([0xf0, 0xff, 0xff, 0xff]);
  const sizes = [block.length, block.length * times].map((size) => Buffer.from(sevenBits(size)));
  const delta = Buffer.concat([...sizes, ...Array.from({ length: times }, () => copyBlock)]);
  const entry = (type: number, size: number): Buffer => {
    const first = (type << 4) | (size & 15);
    const rest = Math.floor(size / 16);
    return Buffer.from(rest === 0 ? [first] : [first | 0x80, ...sevenBits(rest)]);
  };
  const head = Buffer.from('PACK\0\0\0\x02\0\0\0\x04', 'latin1');
  const objects = [
    [entry(1, commit.length), deflateSync(commit)],
    [entry(2, tree.length), deflateSync(tree)],
    [entry(3, block.length), deflateSync(block)],
    [entry(7, delta.length), blob, deflateSync(delta)],
  ];
  const body = Buffer.concat([head, ...objects.flat()]);
  const bytes = Buffer.concat([body, createHash('sha1').update(body).digest()]);
  return { bytes, commit: id('commit', commit.length, [commit]).toString('hex') };
}

/** The lowest seven bits first, each byte but the last with the highest bit set. */
function sevenBits(number: number): number[] {
  const bytes: number[] = [];
  for (let left = number; ; left = Math.floor(left / 128)) {
    if (left < 128) return [...bytes, left];
    bytes.push((left % 128) | 0x80);
  }
}
