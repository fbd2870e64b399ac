/** The embedded default as a user has it (`holdfast start`), for running repositories on it. */
import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { call, folder, start, stateOf } from '../../cli/testing/embedded.ts';
import { agentMethods, type ParamsInputOf, type ResultOf } from '../../shared/protocol/methods.ts';
import { callByHttp } from '../../shared/rpc/http-call.ts';
import { appNameOf, type Entry, failureText, writeFiles } from './entry.ts';

type Methods = typeof agentMethods;

/** Bounds everything that one repository needs: downloads, installing, building, starting. */
const deadlineMs = 600_000;

export interface EmbeddedHoldfast {
  /** Writes the files, declares the app, makes it run, calls it and deletes it. @throws what does not fit, with the last lines of the log. */
  run(entry: Entry): Promise<void>;
  /** Declares and starts what is refused. @returns the error with the last lines of the log. */
  refusal(entry: Pick<Entry, 'name' | 'files'>): Promise<string>;
}

export async function startEmbedded(t: TestContext): Promise<EmbeddedHoldfast> {
  const home = await folder(t);
  await start(t, home);
  const { agent, token } = JSON.parse(await readFile(join(stateOf(home), 'cli.json'), 'utf8')) as {
    readonly agent: string;
    readonly token: string;
  };
  const rpc = <K extends keyof Methods>(method: K, params: ParamsInputOf<Methods[K]>): Promise<ResultOf<Methods[K]>> =>
    callByHttp({ url: agent, token, methods: agentMethods }, method, params, { deadlineMs });

  /** @returns the URL of the app when it is ready. */
  const ready = async (app: string, files: Entry['files']): Promise<string> => {
    const source = join(home, 'repositories', app);
    await writeFiles(source, files);
    const { changes } = await rpc('apps.apply', { apps: [{ name: app, source }] });
    await rpc('versions.ensure', { app });
    return changes[0]?.url ?? assert.fail('the app has no URL');
  };
  const remove = async (app: string): Promise<void> => {
    await rpc('apps.delete', { app }).catch(() => undefined);
    await rm(join(home, 'repositories', app), { recursive: true, force: true });
  };
  return {
    async run({ name, files, answers }) {
      const app = appNameOf(name);
      try {
        const url = await ready(app, files).catch((error: unknown) => assert.fail(failureText(error)));
        for (const { path, status = 200, text = '' } of answers) {
          const { status: had, body } = await call(new URL(path, url));
          assert.equal(had, status, `${path}: ${body.slice(0, 2_000)}`);
          assert.ok(body.includes(text), `${path} has no ${JSON.stringify(text)}: ${body.slice(0, 2_000)}`);
        }
      } finally {
        await remove(app);
      }
    },
    async refusal({ name, files }) {
      const app = appNameOf(name);
      try {
        return `it runs at ${await ready(app, files)}`;
      } catch (error) {
        return failureText(error);
      } finally {
        await remove(app);
      }
    },
  };
}
