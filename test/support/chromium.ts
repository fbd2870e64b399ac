/** A real browser for tests: Chromium without a window, driven over a pipe (https://chromedevtools.github.io/devtools-protocol/). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { TestContext } from 'node:test';

/** Debian's package of the same name; test/runner/programs.ts provides it. */
const program = 'chromium';
const flags = [
  '--headless',
  '--no-sandbox', // tests run as root
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--disable-background-networking',
  '--remote-debugging-pipe',
];
const answerMs = 20_000;

type Params = Readonly<Record<string, unknown>>;

interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: Params;
  readonly error?: { readonly message: string };
}

export interface BrowserPage {
  /** Errors of scripts, of the policy of the page, and of what it loads. */
  readonly errors: readonly string[];
  /** Begins to load; does not wait for an answer. */
  goto(url: string): Promise<void>;
  /** The value of an expression in the page. @throws while there is no page to ask. */
  evaluate(expression: string): Promise<unknown>;
  send(method: string, params?: Params): Promise<Params>;
  screenshot(): Promise<Buffer>;
}

export interface Browser {
  /** Opens a page with cookies and a cache of its own. */
  open(): Promise<BrowserPage>;
}

/** Ended after the test, with its profile. */
export async function startChromium(t: TestContext): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), 'holdfast-chromium-'));
  const child = spawn(program, [...flags, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    env: { ...process.env, HOME: profile },
  });
  const exited = once(child, 'exit');
  exited.catch(() => undefined); // whatever waits for an answer reports it
  const pipe = new Pipe(child.stdio[3] as Writable, child.stdio[4] as Readable);
  t.after(async () => {
    const killer = setTimeout(() => child.kill('SIGKILL'), 5_000);
    pipe.send('Browser.close').catch(() => child.kill('SIGKILL'));
    await exited;
    clearTimeout(killer);
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  return {
    async open() {
      const { browserContextId } = await pipe.send('Target.createBrowserContext');
      const { targetId } = await pipe.send('Target.createTarget', { url: 'about:blank', browserContextId });
      const { sessionId } = await pipe.send('Target.attachToTarget', { targetId, flatten: true });
      return openPage(pipe, String(sessionId));
    },
  };
}

async function openPage(pipe: Pipe, session: string): Promise<BrowserPage> {
  const errors: string[] = [];
  const send = (method: string, params: Params = {}): Promise<Params> => pipe.send(method, params, session);
  pipe.onEvent(session, (method, params) => {
    const { entry, type } = params as {
      entry?: { level: string; source: string; text: string; url?: string };
      type?: string;
    };
    if (method === 'Runtime.exceptionThrown') errors.push(JSON.stringify(params['exceptionDetails']));
    if (method === 'Runtime.consoleAPICalled' && type === 'error') errors.push(JSON.stringify(params['args']));
    if (method === 'Log.entryAdded' && entry?.level === 'error')
      errors.push(`${entry.source}: ${entry.text} ${entry.url ?? ''}`);
  });
  for (const domain of ['Page', 'Runtime', 'Log']) await send(`${domain}.enable`);
  return {
    errors,
    send,
    async goto(url) {
      // Answered when the navigation has an answer, which a held one has late.
      send('Page.navigate', { url }).catch((error: unknown) => errors.push(String(error)));
    },
    async evaluate(expression) {
      const { result, exceptionDetails } = await send('Runtime.evaluate', {
        expression,
        returnByValue: true,
        awaitPromise: true,
      });
      if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
      return (result as { value?: unknown }).value;
    },
    async screenshot() {
      const { data } = await send('Page.captureScreenshot', { format: 'png' });
      return Buffer.from(String(data), 'base64');
    },
  };
}

/** Messages in JSON, each ended by a zero byte. */
class Pipe {
  readonly #to: Writable;
  readonly #waiting = new Map<number, { resolve(result: Params): void; reject(error: Error): void }>();
  readonly #listeners = new Map<string, (method: string, params: Params) => void>();
  #id = 0;
  #partial = '';

  constructor(to: Writable, from: Readable) {
    this.#to = to;
    to.on('error', () => undefined);
    from.setEncoding('utf8').on('data', (text: string) => {
      const messages = (this.#partial + text).split('\0');
      this.#partial = messages.pop() ?? '';
      for (const message of messages) this.#take(JSON.parse(message) as Message);
    });
    from.on('close', () => {
      for (const waiting of this.#waiting.values()) waiting.reject(new Error('the browser has ended'));
      this.#waiting.clear();
    });
  }

  onEvent(session: string, listener: (method: string, params: Params) => void): void {
    this.#listeners.set(session, listener);
  }

  send(method: string, params: Params = {}, sessionId?: string): Promise<Params> {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${method}: no answer within ${answerMs} ms`)), answerMs);
      this.#waiting.set(id, {
        resolve(result) {
          clearTimeout(late);
          resolve(result);
        },
        reject(error) {
          clearTimeout(late);
          reject(error);
        },
      });
      this.#to.write(`${JSON.stringify({ id, method, params, ...(sessionId !== undefined && { sessionId }) })}\0`);
    });
  }

  #take({ id, sessionId, method, params, result, error }: Message): void {
    if (id === undefined) {
      this.#listeners.get(sessionId ?? '')?.(method ?? '', params ?? {});
      return;
    }
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result ?? {});
    else waiting?.reject(new Error(error.message));
  }
}
