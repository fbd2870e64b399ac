/** Contexts of builds by their one-time URL: who gets them, how often, and how the init container deals with an agent that comes and goes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { toAppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import { sendProblem } from '../../shared/problem.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { createContexts, createContextToken, type Contexts } from './context-endpoint.ts';
import { packContext, type BuildContext } from './build-context.ts';

const context: BuildContext = { folder: '/nowhere', extraFiles: {} };

async function serve(t: TestContext, contexts: Contexts): Promise<{ readonly url: string; isLeader: boolean }> {
  const ground = { url: '', isLeader: true };
  const server = createServer((request, response) => {
    if (!ground.isLeader) {
      response.writeHead(503, { 'Retry-After': '1' }).end();
      return;
    }
    const admit = (): never => assert.fail('the token of the context is what proves the caller');
    contexts.endpoint
      .handle(request, response, admit)
      .catch((error: unknown) => sendProblem(response, toAppError(error)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  ground.url = `http://127.0.0.1:${String(address.port)}`;
  return ground;
}

async function ask(url: string): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => get(url, { agent: false }, resolve).on('error', reject));
}

async function statusOf(url: string): Promise<number> {
  const response = await ask(url);
  response.resume();
  return response.statusCode ?? 0;
}

test('a token leads to its context once; unknown ones wait, used ones are over, and the end of the build ends it', async (t) => {
  const contexts = createContexts({ pack: () => Promise.resolve(Readable.from(['an ', 'archive'])), log: silentLog });
  const { url } = await serve(t, contexts);
  const { token, tokenHash } = createContextToken();
  const before = await ask(`${url}/contexts/${token}`);
  assert.equal(before.statusCode, 503);
  assert.equal(before.headers['retry-after'], '1');
  assert.ok(!(await text(before)).includes(token));

  const open = contexts.open(tokenHash, context);
  assert.equal(await statusOf(`${url}/contexts/${createContextToken().token}`), 503);
  assert.equal(await statusOf(`${url}/contexts/../x`), 404);
  assert.equal(await text(await ask(`${url}/contexts/${token}`)), 'an archive');
  assert.equal(await statusOf(`${url}/contexts/${token}`), 410);
  await open.close();
  assert.equal(await statusOf(`${url}/contexts/${token}`), 503);
});

test('a transfer that is cut may be begun again; a newer one takes the place of one that hangs', async (t) => {
  const packed: PassThrough[] = [];
  const contexts = createContexts({
    pack() {
      const archive = new PassThrough();
      archive.write('begin ');
      // The third goes to its end.
      if (packed.push(archive) === 3) archive.end('end');
      return Promise.resolve(archive);
    },
    log: silentLog,
  });
  const { url } = await serve(t, contexts);
  const { token, tokenHash } = createContextToken();
  const open = contexts.open(tokenHash, context);
  const first = await ask(`${url}/contexts/${token}`);
  first.on('error', () => undefined).destroy();
  await eventually(2_000, () => assert.ok(packed[0]?.destroyed));
  const second = await ask(`${url}/contexts/${token}`);
  second.on('error', () => undefined).resume();
  assert.equal(await text(await ask(`${url}/contexts/${token}`)), 'begin end');
  assert.ok(packed[1]?.destroyed);
  await open.close();
});

test('the end of a build ends the transfer of its context', async (t) => {
  const contexts = createContexts({
    pack() {
      const archive = new PassThrough();
      archive.write('begin');
      return Promise.resolve(archive);
    },
    log: silentLog,
  });
  const { url } = await serve(t, contexts);
  const { token, tokenHash } = createContextToken();
  const open = contexts.open(tokenHash, context);
  const response = await ask(`${url}/contexts/${token}`);
  const cut = text(response).then(
    () => assert.fail('it ended well'),
    () => 'cut',
  );
  await open.close();
  assert.equal(await cut, 'cut');
});

test('who waits for the transfer before it gets nothing once the build has ended: its tree may be gone', async (t) => {
  const packing = Promise.withResolvers<Readable>();
  const replaced = Promise.withResolvers<void>();
  let packs = 0;
  const contexts = createContexts({
    pack(_context, signal) {
      packs += 1;
      signal.addEventListener('abort', () => replaced.resolve());
      return packing.promise;
    },
    log: silentLog,
  });
  const { url } = await serve(t, contexts);
  const { token, tokenHash } = createContextToken();
  const open = contexts.open(tokenHash, context);
  const first = ask(`${url}/contexts/${token}`).catch(() => undefined);
  await eventually(2_000, () => assert.equal(packs, 1));
  const second = statusOf(`${url}/contexts/${token}`).catch(() => 0);
  await replaced.promise;
  const closed = open.close();
  packing.reject(new Error('aborted'));
  await closed;
  assert.equal(await second, 503);
  assert.equal(packs, 1);
  await first;
});

const entry = new URL('fetch-context.ts', import.meta.url).pathname;

async function fetchContext(
  url: string,
  token: string,
  folder: string,
): Promise<{ readonly code: number | null; readonly output: string; readonly message: string }> {
  const child = spawn(process.execPath, [entry], {
    env: {
      HOLDFAST_CONTEXT_URL: `${url}/contexts`,
      HOLDFAST_CONTEXT_TOKEN: token,
      HOLDFAST_CONTEXT_FOLDER: join(folder, 'tree'),
      HOLDFAST_CONTEXT_MAX_BYTES: '1000000',
      HOLDFAST_CONTEXT_MAX_FILES: '10',
      HOLDFAST_CONTEXT_TERMINATION_LOG: join(folder, 'termination'),
    },
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const [out, errors, code] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  const message = await readFile(join(folder, 'termination'), 'utf8').catch(() => '');
  return { code, output: out + errors, message };
}

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'hf-context-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, 'source'));
  await writeFile(join(folder, 'source', 'main.js'), 'the program');
  return folder;
}

test('the init container waits for the leader and for the build to be known, then has tree and preset', async (t) => {
  const folder = await folderOf(t);
  const contexts = createContexts({
    pack: (own, signal) => packContext(own, { max_files: 10 }, signal),
    log: silentLog,
  });
  const ground = await serve(t, contexts);
  ground.isLeader = false;
  const { token, tokenHash } = createContextToken();
  const fetching = fetchContext(ground.url, token, folder);
  ground.isLeader = true;
  contexts.open(tokenHash, { folder: join(folder, 'source'), extraFiles: { Dockerfile: 'FROM scratch' } });
  const { code, output } = await fetching;
  assert.equal(code, 0, output);
  assert.ok(!output.includes(token));
  assert.equal(await readFile(join(folder, 'tree', 'main.js'), 'utf8'), 'the program');
  assert.equal(await readFile(join(folder, 'tree', 'Dockerfile'), 'utf8'), 'FROM scratch');
  const again = await fetchContext(ground.url, token, folder);
  assert.equal(again.code, 3);
  assert.match(again.message, /fetched already/);
});

test('the init container refuses what is no tree, and takes a cut transfer for no refusal', async (t) => {
  const folder = await folderOf(t);
  let archive = 'this is no gzip';
  let cuts = 0;
  const contexts = createContexts({
    pack() {
      const pieces = async function* () {
        yield Buffer.from([0x1f, 0x8b]);
        cuts += 1;
        if (cuts === 1) throw new Error('the disk of the agent');
        yield archive;
      };
      return Promise.resolve(Readable.from(pieces()));
    },
    log: silentLog,
  });
  const { url } = await serve(t, contexts);
  const { token, tokenHash } = createContextToken();
  contexts.open(tokenHash, context);
  archive = 'no gzip';
  const { code, message, output } = await fetchContext(url, token, folder);
  assert.match(output, /tries again/);
  assert.equal(code, 2, message);
  assert.ok(cuts >= 2);
});
