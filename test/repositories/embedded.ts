/** The embedded default as a user has it (`holdfast start`), for running repositories on it. */
import assert from 'node:assert/strict';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { call, folder, start } from '../../cli/testing/embedded.ts';
import { AppError } from '../../shared/errors.ts';
import { agentMethods, type ParamsInputOf, type ResultOf } from '../../shared/protocol/methods.ts';
import { callByHttp } from '../../shared/rpc/http-call.ts';
import type { Entry } from './entry.ts';

type Methods = typeof agentMethods;

/** Bounds everything that one repository needs: downloads, installing, building, starting. */
const deadlineMs = 280_000;

export interface EmbeddedHoldfast {
  /** Writes the files, declares the app, makes it run and calls it; then deletes it. @throws what does not fit, with the last lines of the log. */
  run(entry: Entry): Promise<void>;
}

export async function startEmbedded(t: TestContext): Promise<EmbeddedHoldfast> {
  const home = await folder(t);
  await start(t, home);
  const { agent, token } = JSON.parse(await readFile(join(home, '.holdfast', 'cli.json'), 'utf8')) as {
    readonly agent: string;
    readonly token: string;
  };
  const rpc = <K extends keyof Methods>(method: K, params: ParamsInputOf<Methods[K]>): Promise<ResultOf<Methods[K]>> =>
    callByHttp({ url: agent, token, methods: agentMethods }, method, params, { deadlineMs });

  /** @returns the URL of the app when it is ready. */
  const ready = async (entry: Pick<Entry, 'name' | 'files' | 'keys'>, app: string): Promise<string> => {
    const source = join(home, 'repositories', app);
    await writeFiles(source, entry.files);
    const { changes } = await rpc('apps.apply', { apps: [{ name: app, source, ...entry.keys }] });
    await rpc('versions.ensure', { app });
    return changes[0]?.url ?? assert.fail('the app has no URL');
  };
  const remove = async (app: string): Promise<void> => {
    await rpc('apps.delete', { app }).catch(() => undefined);
    await rm(join(home, 'repositories', app), { recursive: true, force: true });
  };
  return {
    async run(entry) {
      const app = appNameOf(entry.name);
      try {
        const url = await ready(entry, app);
        for (const { path, status = 200, text = '' } of entry.answers) {
          const answer = await call(new URL(path, url));
          assert.equal(answer.status, status, `${path}: ${answer.body.slice(0, 2_000)}`);
          assert.ok(
            answer.body.includes(text),
            `${path} has no ${JSON.stringify(text)}: ${answer.body.slice(0, 2_000)}`,
          );
        }
      } catch (error) {
        throw error instanceof AppError ? new Error(told(error), { cause: error }) : error;
      } finally {
        await remove(app);
      }
    },
  };
}

async function writeFiles(folder: string, files: Entry['files']): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
}

/** `FastAPI in api.py` → `fastapi-in-api-py`, within the length of an app's name. */
function appNameOf(name: string): string {
  const plain = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  return plain.slice(0, 40).replaceAll(/^-|-$/g, '');
}

function told(error: unknown): string {
  if (!(error instanceof AppError)) return String(error);
  const logs: unknown = 'logs' in error.data ? error.data['logs'] : [];
  return [`${error.code}: ${error.message}`, ...(Array.isArray(logs) ? logs.map(String) : [])].join('\n');
}
