/**
 * Watches the folders of apps whose source is a folder on this machine. When files of a folder change, its app is declared again as it is,
 * which makes a version of what the folder holds now.
 */
import { isDeepStrictEqual } from 'node:util';
import { join } from 'node:path';
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { FolderWatch, type FolderWatchOptions } from '../../shared/presets/folder-watch.ts';
import { type AppSpec, sourceKind } from '../../shared/protocol/app-spec.ts';
import type { PlannedChange } from '../../shared/protocol/views.ts';
import type { SourceLimits } from '../../shared/source/limits.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { SyncEngine } from './sync.ts';

/** The part of the version engine that is needed here. */
export interface LiveEngine extends Pick<SyncEngine, 'apps' | 'record'> {
  /**
   * Declares the app again as it is, unless its newest version has what the folder holds now.
   * @returns undefined if nothing was declared. @throws AppError
   */
  repinIfNew(app: string, actor: string): Promise<PlannedChange | undefined>;
}

interface LiveFoldersDeps {
  readonly engine: LiveEngine;
  /** The agent's data folder, which is no part of any source. */
  readonly dataDir: string;
  readonly limits: SourceLimits;
  readonly clock: Clock;
  readonly log: Log;
  /** Replaced in tests. */
  readonly watch?: (options: FolderWatchOptions) => Pick<FolderWatch, 'close'>;
}

interface LiveApp {
  spec: AppSpec;
  readonly root: string;
  readonly watch: Pick<FolderWatch, 'close'>;
  /** The declaration under way. */
  declaring: Promise<void> | undefined;
  again: boolean;
  isFailing: boolean;
}

/** Apps are compared with what is watched this often. */
const lookMs = 500;
const actor = 'watch';

export class LiveFolders {
  readonly #deps: LiveFoldersDeps;
  readonly #apps = new Map<string, LiveApp>();
  /** What apps that are no longer watched leave behind, until it has ended. */
  readonly #ending = new Set<Promise<unknown>>();
  #stopTimer: () => void = () => undefined;
  #isClosed = false;

  /** Begins to watch. */
  constructor(deps: LiveFoldersDeps) {
    this.#deps = deps;
    this.#look();
  }

  /** Resolves when nothing is watched and no declaration is under way: the engine, closed at the same time, ends those. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopTimer();
    for (const name of this.#apps.keys()) this.#end(name);
    await Promise.all(this.#ending);
  }

  /** Watches the folders that apps have now, and no others. */
  #look(): void {
    const { engine, clock } = this.#deps;
    const wanted = new Map(engine.apps().flatMap(({ name, spec }) => (isFolder(spec) ? [[name, spec] as const] : [])));
    for (const [name, app] of this.#apps) {
      const spec = wanted.get(name);
      if (spec === undefined || rootOf(spec) !== app.root) this.#end(name);
      else if (!isDeepStrictEqual(spec, app.spec)) app.spec = spec;
    }
    for (const [name, spec] of wanted) if (!this.#apps.has(name)) this.#begin(name, spec);
    this.#stopTimer = clock.after(lookMs, () => this.#look());
  }

  #begin(name: string, spec: AppSpec): void {
    const { dataDir, limits, clock, watch = (options) => new FolderWatch(options) } = this.#deps;
    const root = rootOf(spec);
    const app: LiveApp = {
      spec,
      root,
      declaring: undefined,
      again: false,
      isFailing: false,
      watch: watch({
        root,
        spec: () => app.spec,
        skip: new Set([dataDir]),
        limits,
        clock,
        onChange: () => this.#changed(name, app),
      }),
    };
    this.#apps.set(name, app);
  }

  #end(name: string): void {
    const app = this.#apps.get(name);
    this.#apps.delete(name);
    if (app === undefined) return;
    const ending = Promise.all([app.watch.close(), app.declaring]).finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  #changed(name: string, app: LiveApp): void {
    app.again = true;
    app.declaring ??= this.#declareUntilStill(name, app).finally(() => {
      app.declaring = undefined;
    });
  }

  /** Never rejects. */
  async #declareUntilStill(name: string, app: LiveApp): Promise<void> {
    const { engine, log } = this.#deps;
    while (app.again && !this.#isClosed && this.#apps.get(name) === app) {
      app.again = false;
      try {
        const change = await engine.repinIfNew(name, actor);
        if (change?.action === 'update') log.info({ app: name, version: change.version }, 'a folder has changed');
        app.isFailing = false;
      } catch (error) {
        this.#failed(name, app, error);
      }
    }
  }

  #failed(name: string, app: LiveApp, error: unknown): void {
    const { engine, log } = this.#deps;
    const { code, message } = toAppError(error);
    if (this.#isClosed || code === 'app_not_found') return;
    log.warn({ err: error, app: name }, 'a folder has changed, but its app could not be declared again');
    if (app.isFailing) return;
    app.isFailing = true;
    const told = `${code}: ${message}`;
    engine.record({ actor: 'holdfast', app: name, version: null, kind: 'source.watch_failed', message: told });
  }
}

function isFolder({ source }: AppSpec): boolean {
  return source !== undefined && sourceKind(source) === 'folder';
}

function rootOf({ source = '', dir }: AppSpec): string {
  return dir === undefined ? source : join(source, dir);
}
