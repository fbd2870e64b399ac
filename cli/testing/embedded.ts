/** A Holdfast on this machine, and commands to it, as real processes. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { stateFolder } from '../state-folder.ts';
import { freePort } from '../../shared/net/testing/free-ports.ts';

export const launcher = fileURLToPath(new URL('../holdfast.mjs', import.meta.url));

interface Started {
  readonly process: ChildProcess;
  /** Of the example: below `localhost`, which `text` finds. */
  readonly url: string;
  /** Of the router, for apps with a path. */
  readonly base: string;
}

export async function start(t: TestContext, home: string): Promise<Started> {
  // Several tests start one at the same time, so each has a port of its own instead of the preferred one.
  const port = String(await freePort());
  const child = spawn(process.execPath, [launcher, 'start', '--port', port], {
    cwd: home,
    env: { ...process.env, XDG_STATE_HOME: stateHomeOf(home) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (err += chunk));
  let out = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) {
    out += String(chunk);
    const url = /curl (http:\S+)/.exec(out)?.[1];
    if (url !== undefined && out.includes('Ctrl-C')) {
      child.stdout.resume();
      return { process: child, url, base: `http://127.0.0.1:${new URL(url).port}` };
    }
  }
  return assert.fail(`it ended before it printed a URL: ${out}${err}`);
}

export async function holdfast(cwd: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const env = commandEnvironment(cwd);
  const child = spawn(process.execPath, [launcher, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (err += chunk));
  const [code] = (await once(child, 'close')) as [number];
  return { code, out, err };
}

/** Returns the state folder of a Holdfast that was started in `home`. */
export function stateOf(home: string): string {
  return stateFolder(home, { XDG_STATE_HOME: stateHomeOf(home) });
}

/** Returns the environment of a command that finds the Holdfast of this folder or one above. */
export function commandEnvironment(cwd: string): NodeJS.ProcessEnv {
  return { PATH: process.env['PATH'], XDG_STATE_HOME: stateHomeOf(cwd) };
}

/** State is kept in the folder that `start` was given, so that it is removed with it, and found from folders below. */
function stateHomeOf(cwd: string): string {
  for (let at = cwd; ; at = dirname(at)) {
    const state = join(at, '.state');
    if (existsSync(state)) return state;
    if (at === dirname(at)) return join(cwd, '.state');
  }
}

/** Calls a URL whose host is this machine, as browsers and curl find `*.localhost`, which the resolver of Node need not. */
export async function call(url: string | URL): Promise<{ readonly status: number; readonly body: string }> {
  const { host, port, pathname, search } = new URL(url);
  const request = get({ host: '127.0.0.1', port, path: pathname + search, headers: { host }, timeout: 120_000 });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await text(response) };
}

export async function folder(t: TestContext): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'holdfast-start-'));
  t.after(() => rm(made, { recursive: true, force: true }));
  return made;
}
