/** What the promises of the contract stand on: a platform with its ground under it, and waits that end. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { get } from 'node:http';
import type { TestContext } from 'node:test';
import type { Platform, StartOptions, VersionRun } from '../../agent/platform/platform.ts';
import { AppError } from '../../shared/errors.ts';
import { appConfig, resolveAppConfig } from '../../shared/protocol/app-config.ts';
import { appSpec, type AppSpecInput } from '../../shared/protocol/app-spec.ts';
import type { Target } from '../../shared/protocol/routes.ts';

/** test/apps/test-app with this MODE. */
export type TestAppMode =
  'ok' | 'crash' | 'never-ready' | 'slow' | 'unhealthy' | 'mute' | 'garbage' | 'status' | 'slow-answer';

export interface Buildable {
  readonly spec: Partial<AppSpecInput>;
  /** How often making it ready has begun; it goes on until `letEnd`, and at once from then on. */
  begun(): Promise<number>;
  letEnd(): Promise<void>;
}

/** What a broken one says while it is built. */
export const brokenLine = 'this build is broken';

export interface Ground {
  readonly platform: Platform;
  /** Another agent's platform on the same ground, for when the first was closed. */
  another(): Promise<Platform>;
  /** What of `image` or `source` makes the test app run: `content` 2 is other content than 1. */
  readonly content: (content: 1 | 2) => Pick<AppSpecInput, 'image' | 'source'>;
  /** A source of its own that has to be made ready before it runs: an image built, or a folder installed. `broken`: it cannot be. */
  buildable(kind: 'good' | 'broken'): Promise<Buildable>;
  /** The same for something that is not there, and the code that `pin` says it with. */
  readonly missing: { readonly spec: Pick<AppSpecInput, 'image' | 'source'>; readonly code: string };
  /** The same for what this kind of platform does not run. */
  readonly unsupported: Pick<AppSpecInput, 'image' | 'source'>;
  /** Processes or pods of the app that run, whoever started them, without those on their way out. */
  running(app: string): Promise<number>;
  /** Closes every platform it made and removes the apps with all that is theirs. */
  dispose(apps: readonly string[]): Promise<void>;
}

/** Upper bounds of waits, generous: only a broken platform meets them. */
export interface Deadlines {
  readonly startMs: number;
  readonly failMs: number;
  readonly stopMs: number;
}

export interface ContractOptions {
  readonly name: string;
  /** Why the suite cannot run here; by default it does. */
  readonly skip?: string | false;
  /** Whether apps go on running while no agent does. */
  readonly outlivesAgent: boolean;
  /** Whether volumes can be made where it runs. */
  readonly volumes: boolean;
  readonly deadlines: Deadlines;
  create(): Promise<Ground>;
}

export interface Bench extends Ground {
  readonly deadlines: Deadlines;
  /** An unused name, removed with everything of it when the test ends. */
  name(): string;
  run(app: string, options?: RunOptions): Promise<VersionRun>;
}

export interface RunOptions {
  readonly version?: number;
  readonly mode?: TestAppMode;
  readonly content?: 1 | 2;
  readonly startDeadlineSecs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly spec?: Partial<AppSpecInput>;
}

export async function createBench(t: TestContext, options: ContractOptions): Promise<Bench> {
  const ground = await options.create();
  const apps: string[] = [];
  t.after(() => ground.dispose(apps));
  return {
    ...ground,
    deadlines: options.deadlines,
    name() {
      const app = `contract-${randomBytes(4).toString('hex')}`;
      apps.push(app);
      return app;
    },
    async run(app, { version = 1, mode = 'ok', content = 1, startDeadlineSecs = 60, env = {}, spec: more = {} } = {}) {
      const spec = appSpec.parse({
        name: app,
        path: `/${app}`,
        ...ground.content(content),
        env: { MODE: mode, VERSION: String(version), ...env },
        config: { container: { start_deadline_secs: startDeadlineSecs } },
        ...more,
      });
      const pin = await ground.platform.pin(spec, AbortSignal.timeout(options.deadlines.startMs));
      return { app, version, spec, config: resolveAppConfig(appConfig.parse({}), spec.config), pin };
    },
  };
}

export function startOptions(options: Partial<StartOptions> = {}): StartOptions {
  return { signal: AbortSignal.timeout(120_000), onPhase: () => {}, ...options };
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** A call to a target. @throws the error of the socket. */
export async function call(target: Target | undefined, path = '/'): Promise<Record<string, unknown>> {
  if (target === undefined) throw new Error('no target to call');
  return new Promise((resolve, reject) => {
    const request = get({ host: target.host, port: target.port, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.once('error', reject);
      response.once('end', () => resolve(JSON.parse(text)));
    });
    request.once('error', reject);
  });
}

/** Waits until the targets of a version are as wanted, looking after each change. */
export async function untilTargets(
  platform: Platform,
  version: { readonly app: string; readonly version: number },
  wanted: (targets: readonly Target[]) => boolean,
  deadlineMs: number,
): Promise<readonly Target[]> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly Target[]>();
  const look = (): void => {
    const targets = platform.targets(version.app, version.version);
    if (wanted(targets)) resolve(targets);
  };
  const stopListening = platform.onTargets(look);
  const timer = setTimeout(() => {
    const targets = JSON.stringify(platform.targets(version.app, version.version));
    reject(new Error(`the targets did not become as wanted within ${deadlineMs} ms; they are ${targets}`));
  }, deadlineMs);
  look();
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    stopListening();
  }
}

/** The error with which a work fails. */
export async function failureOf(work: Promise<unknown>): Promise<AppError> {
  const error = await work.then(
    () => assert.fail('it should have failed'),
    (error: unknown) => error,
  );
  assert.ok(error instanceof AppError, String(error));
  return error;
}
