import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { createGzip, gzipSync } from 'node:zlib';
import { defaultSourceLimits, type SourceLimits } from './limits.ts';
import { packFolder } from './pack.ts';
import { tarEnd, tarEntry, tarGzOf, tarOf, type TestEntry } from './testing/archive.ts';
import { inspectTree, unpackTree, type UnpackedTree } from './unpack.ts';

const run = promisify(execFile);
const never = new AbortController().signal;

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-unpack-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

interface Options {
  readonly dir?: string;
  readonly limits?: Partial<SourceLimits>;
  readonly signal?: AbortSignal;
  readonly gzip?: boolean;
}

async function unpack(
  folder: string,
  archive: Buffer | Readable,
  { dir, limits, signal = never, gzip = false }: Options = {},
): Promise<UnpackedTree> {
  const input = Buffer.isBuffer(archive) ? Readable.from([archive]) : archive;
  const all = { ...defaultSourceLimits, ...limits };
  return unpackTree({ input, gzip, target: join(folder, 'tree'), dir, limits: all, signal });
}

async function refused(
  t: TestContext,
  archive: Buffer | Readable,
  message: RegExp,
  options: Options = {},
): Promise<void> {
  const folder = await folderOf(t);
  await writeFile(join(folder, 'victim'), 'untouched');
  await assert.rejects(unpack(folder, archive, options), { code: 'source_invalid', phase: 'source', message });
  assert.deepEqual(await readdir(folder), ['victim']);
  assert.equal(await readFile(join(folder, 'victim'), 'utf8'), 'untouched');
}

void test('files, folders and inner links come out as they were packed, with the digest of their content', async (t) => {
  const folder = await folderOf(t);
  const from = join(folder, 'from');
  await mkdir(join(from, 'lib', 'empty'), { recursive: true });
  await writeFile(join(from, 'server.js'), 'one');
  await writeFile(join(from, 'lib', 'run'), 'two', { mode: 0o700 });
  await writeFile(join(from, `${'long'.repeat(40)}.txt`), 'three');
  await writeFile(join(from, 'grüße.txt'), 'four');
  await symlink('../server.js', join(from, 'lib', 'link'));
  const options = { root: from, limits: defaultSourceLimits, signal: never };
  const one = await packFolder({ ...options, file: join(folder, 'one.tar.gz') });
  await chmod(join(from, 'server.js'), 0o600);
  const two = await packFolder({ ...options, file: join(folder, 'two.tar.gz') });
  assert.equal(one.archive, two.archive);
  assert.deepEqual([one.files, one.treeBytes], [4, 15]);
  const archive = await readFile(join(folder, 'one.tar.gz'));
  assert.equal(archive.length, one.bytes);
  const tree = await unpack(folder, archive, { gzip: true });
  const looked = { input: Readable.from([archive]), gzip: true, limits: defaultSourceLimits, signal: never };
  assert.deepEqual(await inspectTree(looked), tree);
  assert.deepEqual([tree.files, tree.bytes], [4, 15]);
  const place = join(folder, 'tree');
  assert.equal(await readlink(join(place, 'lib', 'link')), '../server.js');
  assert.equal((await lstat(join(place, 'lib', 'run'))).mode & 0o777, 0o755);
  assert.equal(await readFile(join(place, 'grüße.txt'), 'utf8'), 'four');
  assert.deepEqual(await readdir(join(place, 'lib', 'empty')), []);
  const again = await packFolder({ ...options, root: place, file: join(folder, 'three.tar.gz') });
  assert.equal(again.archive, one.archive);
});

void test('what other archivers pack is understood: GNU, pax and old names, hard links, our own by them', async (t) => {
  const folder = await folderOf(t);
  const from = join(folder, 'from');
  const deep = join(from, 'a'.repeat(90), 'b'.repeat(90));
  await mkdir(deep, { recursive: true });
  await writeFile(join(deep, 'ü'.repeat(60)), 'long');
  await writeFile(join(from, 'one'), '1');
  await run('ln', [join(from, 'one'), join(from, 'two')]);
  const digests = new Set<string>();
  for (const format of ['gnu', 'pax', 'posix']) {
    const { stdout } = await run('tar', ['-C', from, `--format=${format}`, '-cf', '-', '.'], { encoding: 'buffer' });
    const target = await mkdtemp(join(folder, 'out-'));
    digests.add((await unpack(target, stdout)).digest);
    assert.equal(await readFile(join(target, 'tree', 'two'), 'utf8'), '1');
  }
  const file = join(folder, 'own.tar.gz');
  await packFolder({ root: from, file, limits: defaultSourceLimits, signal: never });
  await mkdir(join(folder, 'theirs'));
  await run('tar', ['-C', join(folder, 'theirs'), '-xzf', file]);
  await run('diff', ['-r', from, join(folder, 'theirs')]);
  digests.add((await unpack(folder, await readFile(file), { gzip: true })).digest);
  assert.equal(digests.size, 1);
});

void test('paths that lead out are refused and named', async (t) => {
  for (const [name, message] of [
    ['../../x', /^\.\.\/\.\.\/x leads out/],
    ['a/../../x', /leads out/],
    ['/etc/cron.d/x', /^\/etc\/cron\.d\/x is an absolute path/],
    ['a\0b', /zero byte/],
    ['file/', /name of a folder/],
  ] as const) {
    // A pax header can contain any of these names.
    const record = ` path=${name}\n`;
    const pax = `${record.length + 2}${record}`;
    const entry = Buffer.concat([tarEntry({ name: 'pax', type: 'x', data: pax }), tarEntry({ name: 'x', data: 'x' })]);
    await refused(t, Buffer.concat([entry, tarEnd]), message);
  }
  await refused(t, tarOf({ name: '../victim', data: 'overwritten' }), /leads out/);
});

void test('links that lead out are refused and named, directly or by way of others, wherever they stand', async (t) => {
  const link = (name: string, linkName: string): TestEntry => ({ name, type: '2', linkName });
  await refused(t, tarOf(link('passwd', '/etc/passwd')), /^passwd is a link that leads out.*\/etc\/passwd/);
  await refused(t, tarOf(link('up', '..')), /^up is a link/);
  await refused(t, tarOf(link('a/b/up', '../..'), link('deep', 'a/b/up/..')), /^deep is a link/);
  await refused(t, tarOf(link('deep', 'a/b/up/..'), link('a/b/up', '../..')), /^deep is a link/);
  await refused(t, tarOf(link('not/there', 'none/../../../victim')), /^not\/there is a link/);
  await refused(t, tarOf({ name: 'hard', type: '1', linkName: '../victim' }), /leads out/);
  await refused(t, tarOf({ name: 'hard', type: '1', linkName: 'none' }), /^hard is a hard link to no file/);
});

void test('nothing is written through a link, over a file or under one', async (t) => {
  const toVictim = { name: 'a', type: '2', linkName: '..' };
  await refused(t, tarOf(toVictim, { name: 'a/victim', data: 'overwritten' }), /^a is a link and a folder/);
  await refused(
    t,
    tarOf({ name: 'a', type: '2', linkName: 'b' }, { name: 'a', data: 'x' }),
    /^a is in the archive twice/,
  );
  await refused(t, tarOf({ name: 'a', data: 'x' }, { name: './a', data: 'y' }), /twice/);
  await refused(t, tarOf({ name: 'a', data: 'x' }, { name: 'a/b', data: 'y' }), /^a is a file and a folder/);
  await refused(t, tarOf({ name: 'a/b', data: 'x' }, { name: 'a', type: '2', linkName: 'b' }), /twice/);
});

void test('links that go round in circles, or nowhere, are only links', async (t) => {
  const folder = await folderOf(t);
  await unpack(folder, tarOf({ name: 'a', type: '2', linkName: 'b' }, { name: 'b', type: '2', linkName: 'a' }));
  assert.deepEqual((await readdir(join(folder, 'tree'))).toSorted(), ['a', 'b']);
});

void test('devices, pipes and sparse files are refused', async (t) => {
  for (const [type, message] of [
    ['3', /^dev is no file, folder or link \(a device\)/],
    ['4', /a device/],
    ['6', /a pipe/],
    ['S', /a sparse file/],
    ['7', /tar type "7"/],
  ] as const)
    await refused(t, tarOf({ name: 'dev', type }), message);
});

void test('a header that speaks for every entry, sparse keys and endless headers are refused', async (t) => {
  const pax = (type: string, data: string): Buffer =>
    Buffer.concat([tarEntry({ name: 'pax', type, data }), tarOf({ name: 'x', data: 'x' })]);
  await refused(t, pax('g', '13 path=../x\n'), /global header/);
  await refused(t, pax('x', '22 GNU.sparse.major=1\n'), /sparse/);
  await refused(t, pax('x', '99 path=x\n'), /not valid/);
  await refused(t, pax('x', 'x'.repeat(70_000)), /extension header over 65536 bytes/);
  await refused(t, pax('x', '21 hdrcharset=BINARY\n'), /character set/);
  const folder = await folderOf(t);
  await unpack(folder, pax('g', '52 comment=0123456789012345678901234567890123456789\n'));
});

void test('an archive that is cut off, damaged or goes on after its end is refused', async (t) => {
  const whole = tarOf({ name: 'a', data: 'x'.repeat(5_000) });
  for (const end of [0, 100, 512, 3_000, whole.length - 1_024, whole.length - 512])
    await refused(t, whole.subarray(0, end), /cut off/);
  const zipped = gzipSync(whole);
  await refused(t, zipped.subarray(0, zipped.length - 20), /no whole gzip archive/, { gzip: true });
  await refused(t, Buffer.from('what is this'), /no whole gzip archive/, { gzip: true });
  await refused(t, Buffer.alloc(2_048, 'x'), /no tar archive/);
  await refused(t, Buffer.concat([whole, tarOf({ name: 'hidden', data: 'x' })]), /goes on after its end/);
});

void test('a gigabyte of zeros in a megabyte is refused at the bound, and not read on', async (t) => {
  const folder = await folderOf(t);
  let sent = 0;
  const gigabyte = async function* (): AsyncGenerator<Buffer> {
    yield tarEntry({ name: 'zeros', size: 1024 ** 3 });
    for (; sent < 1024; sent += 1) yield Buffer.alloc(1024 ** 2);
    yield tarEnd;
  };
  await assert.rejects(unpack(folder, Readable.from(gigabyte()).pipe(createGzip()), { gzip: true }), {
    code: 'source_invalid',
    message: /larger than 512 MiB \(source\.max_bytes\)/,
  });
  assert.deepEqual(await readdir(folder), []);
  assert.ok(sent < 16, `${sent} MiB were read`);
});

void test('headers that are nothing but zeros or extensions are bounded too', async (t) => {
  const comment = tarEntry({ name: 'pax', type: 'x', data: `60000 comment=${'c'.repeat(59_985)}\n` });
  const endless = async function* (): AsyncGenerator<Buffer> {
    for (;;) yield comment;
  };
  await refused(t, Readable.from(endless()), /larger than/, { limits: { maxBytes: 1_024, maxFiles: 10 } });
  await refused(t, Readable.from([tarEnd, Buffer.alloc(2 * 1024 ** 2)]), /goes on after its end/);
});

void test('200,000 files, deep folders, long names and bytes over a bound are refused with the bound', async (t) => {
  const many = async function* (): AsyncGenerator<Buffer> {
    for (let file = 0; file < 200_000; file += 1) yield tarEntry({ name: `f${file}` });
    yield tarEnd;
  };
  await refused(t, Readable.from(many()), /more than 1000 files \(source\.max_files\)/, {
    limits: { maxFiles: 1_000 },
  });
  await refused(t, tarOf({ name: `${'d/'.repeat(65)}f` }), /more than 64 folders deep/);
  await refused(t, tarOf({ name: 'n'.repeat(256) }), /name of more than 255 bytes/);
  await refused(t, tarOf({ name: `${'d'.repeat(200)}/`.repeat(6), type: '5' }), /path of more than 1024 bytes/);
  await refused(t, tarOf({ name: 'a', data: 'xx' }, { name: 'b', data: 'xx' }), /larger than 3 bytes/, {
    limits: { maxBytes: 3 },
  });
  const copies = [{ name: 'a', data: 'xx' }, ...['b', 'c'].map((name) => ({ name, type: '1', linkName: 'a' }))];
  await refused(t, tarOf(...copies), /larger than 5 bytes/, { limits: { maxBytes: 5 } });
  // A folder that has no entry of its own counts as well.
  await refused(t, tarOf({ name: 'a/b/c/d' }), /more than 3 files/, { limits: { maxFiles: 3 } });
});

void test('a sub-folder alone becomes the tree, and what leads out of it is refused', async (t) => {
  const folder = await folderOf(t);
  const entries = [
    { name: 'other', data: 'x' },
    { name: 'web/index.html', data: 'hello' },
  ];
  const alone = await unpack(await folderOf(t), tarOf({ name: 'index.html', data: 'hello' }));
  const tree = await unpack(folder, tarGzOf(...entries), { dir: 'web', gzip: true });
  assert.equal(tree.digest, alone.digest);
  assert.deepEqual(await readdir(join(folder, 'tree')), ['index.html']);
  await refused(t, tarOf(...entries, { name: 'web/up', type: '2', linkName: '../other' }), /^up is a link/, {
    dir: 'web',
  });
  await assert.rejects(unpack(await folderOf(t), tarOf(...entries), { dir: 'none' }), { code: 'source_not_found' });
  await assert.rejects(unpack(await folderOf(t), tarOf(...entries), { dir: 'other' }), { code: 'source_not_found' });
});

void test('.git and .holdfast are left out, wherever they are', async (t) => {
  const folder = await folderOf(t);
  await unpack(folder, tarOf({ name: '.git/config', data: 'x' }, { name: 'a/.holdfast/b' }, { name: 'a/c' }));
  assert.deepEqual(await readdir(join(folder, 'tree'), { recursive: true }), ['a', 'a/c']);
});

void test('an abort ends it in the middle and leaves nothing', async (t) => {
  const folder = await folderOf(t);
  const abort = new AbortController();
  const slow = async function* (): AsyncGenerator<Buffer> {
    yield tarEntry({ name: 'a', data: 'x' });
    abort.abort(new Error('enough'));
    yield await new Promise<Buffer>(() => {});
  };
  await assert.rejects(unpack(folder, Readable.from(slow()), { signal: abort.signal }), { message: 'enough' });
  assert.deepEqual(await readdir(folder), []);
});
