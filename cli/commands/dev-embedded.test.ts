/** `holdfast dev` and the live folders of `holdfast start`, as a person uses them: edit, reload, see. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { commandEnvironment, folder, holdfast, launcher, start } from '../testing/embedded.ts';

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Calls an app by its host. @param base the URL of the example app, which has the port. */
function call(base: string, app: string): Promise<Answer> {
  const { port } = new URL(base);
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  request({ host: '127.0.0.1', port, headers: { host: `${app}.localhost:${port}` } }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
  })
    .on('error', reject)
    .end();
  return promise;
}

/** Calls until the answer is this one. Every answer on the way has to be a good one. @returns the time that took, in ms. */
async function untilAnswer(base: string, app: string, text: string): Promise<number> {
  const startMs = performance.now();
  for (;;) {
    const answer = await call(base, app);
    assert.equal(answer.status, 200, answer.text);
    if (answer.text === text) return performance.now() - startMs;
    assert.ok(performance.now() - startMs < 60_000, `still ${answer.text}`);
  }
}

interface Dev {
  readonly process: ChildProcess;
  readonly out: () => string;
  readonly printed: (pattern: RegExp) => Promise<void>;
}

function dev(t: TestContext, home: string, ...args: string[]): Dev {
  const child = spawn(process.execPath, [launcher, 'dev', ...args], {
    cwd: home,
    env: commandEnvironment(home),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  let out = '';
  let seen = 0;
  let look = (): void => undefined;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      out += chunk;
      look();
    });
  const printed = async (pattern: RegExp): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const fail = (): void => assert.fail(`it did not print ${pattern}: ${out}`);
    const timer = setTimeout(fail, 90_000);
    look = () => {
      const found = pattern.exec(out.slice(seen));
      if (found === null) return;
      seen += found.index + found[0].length;
      resolve();
    };
    look();
    await promise;
    clearTimeout(timer);
  };
  return { process: child, out: () => out, printed };
}

const server = (text: string): string =>
  `console.log('starts ${text}'); require('node:http').createServer((_, r) => r.end('${text}')).listen(process.env.PORT);`;

test('dev: an edit is seen at the next reload, a mistake is told with its log, and Ctrl-C ends it', async (t) => {
  const home = await folder(t);
  const { url } = await start(t, home);
  const mine = join(home, 'my-shop');
  await mkdir(mine);
  await writeFile(join(mine, 'package.json'), '{"scripts":{"start":"node server.js"}}');
  await writeFile(join(mine, 'server.js'), server('one'));
  const running = dev(t, home, 'my-shop', '--rm');
  await running.printed(
    /Packed 2 files, .*\nversion 1: applied in [^]*version 1 is ready \(.*\): http:\/\/my-shop\.localhost:\d+\n/,
  );
  assert.equal((await call(url, 'my-shop')).text, 'one');

  await writeFile(join(mine, 'server.js'), server('two'));
  await untilAnswer(url, 'my-shop', 'two');
  await running.printed(/version 2 is ready/);
  await running.printed(/Watching for changes/);
  assert.match(running.out(), /^v2 \S+ \| starts two$/m);

  await writeFile(join(mine, 'server.js'), 'this is no program');
  await running.printed(/version 3 failed: app_crashed: .*\n(  \| .*\n)+Watching for changes/);
  assert.match(running.out(), /SyntaxError/);
  assert.equal((await call(url, 'my-shop')).text, 'two', 'the version before answers');

  await writeFile(join(mine, '.dockerignore'), '[\n');
  await running.printed(/not deployed: source_invalid: \.dockerignore:1 is not a valid pattern/);
  await writeFile(join(mine, '.dockerignore'), 'node_modules\n');
  await writeFile(join(mine, 'server.js'), server('three'));
  await untilAnswer(url, 'my-shop', 'three');
  await running.printed(/version \d is ready/);

  running.process.kill('SIGINT');
  const [code] = (await once(running.process, 'exit')) as [number];
  assert.equal(code, 0, running.out());
  assert.match(running.out(), /Stopped watching, and deleted my-shop\.\n$/);
  assert.equal((await holdfast(home, 'app', 'my-shop')).code, 3);
});

test('start: the folders of apps are live: static pages and servers, with calls on the way, and none fails', async (t) => {
  const home = await folder(t);
  const { url } = await start(t, home);
  await mkdir(join(home, 'page'));
  await mkdir(join(home, 'server'));
  await writeFile(join(home, 'page', 'index.html'), 'page 0');
  await writeFile(join(home, 'server', 'server.js'), server('server 0'));
  await writeFile(
    join(home, 'apps.toml'),
    '[[app]]\nname = "page"\nsource = "page"\n[[app]]\nname = "server"\nsource = "server"\ncommand = ["node", "server.js"]\n',
  );
  assert.equal((await holdfast(home, 'apply', '-f', 'apps.toml')).code, 0);
  assert.equal((await call(url, 'page')).text, 'page 0');
  assert.equal((await call(url, 'server')).text, 'server 0');
  for (const round of [1, 2, 3]) {
    await writeFile(join(home, 'page', 'index.html'), `page ${round}`);
    await writeFile(join(home, 'server', 'server.js'), server(`server ${round}`));
    await Promise.all([
      untilAnswer(url, 'page', `page ${round}`),
      untilAnswer(url, 'server', `server ${round}`),
      untilAnswer(url, 'server', `server ${round}`),
    ]);
  }
  const events = await holdfast(home, 'events');
  assert.match(events.out, /watch .*changes sourceDigest; source: 1 file, \d+ bytes/);

  // What a rollback has put aside stays aside until the folder changes again.
  assert.equal((await holdfast(home, 'rollback', 'page')).code, 0);
  assert.equal((await call(url, 'page')).text, 'page 2');
  await writeFile(join(home, 'page', 'index.html'), 'page 4');
  await untilAnswer(url, 'page', 'page 4');
});
