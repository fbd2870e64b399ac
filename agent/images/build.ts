/** One image that is wanted: looked for in the registry, else built in its turn. All who want it share the build. */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Semaphore } from '../../shared/wait/semaphore.ts';
import { SharedTask } from '../../shared/wait/shared-task.ts';
import { failureOf } from '../store/records.ts';
import type { Sources } from '../source/sources.ts';
import type { BuildRecord } from '../store/build-store.ts';
import { BuildJournal, type BuildJournalDeps, type EndState } from './build-journal.ts';
import type { BuildLog } from './build-log.ts';
import type { Builder } from './builder.ts';
import { inPhase, retryPassing, withLines } from './failures.ts';
import type { OnPhase, SourceVersion } from './images.ts';
import type { Provenance } from './provenance.ts';
import { recipeOf } from './recipe.ts';
import type { RegistryGate } from './registry-gate.ts';

export interface ImageBuildDeps extends BuildJournalDeps {
  readonly repository: string;
  readonly registry: {
    /** The digest of the tag, undefined when it is not there. @throws AppError registry_unavailable, image_denied */
    exists(image: string, signal: AbortSignal): Promise<string | undefined>;
  };
  readonly gate: Pick<RegistryGate, 'lookup' | 'handOut'>;
  readonly provenance: Provenance;
  readonly sources: Pick<Sources, 'tree'>;
  readonly builder: Pick<Builder, 'kind' | 'build' | 'cancel'>;
  /** Bounds the builds that run at a time; the key is the app. */
  readonly places: Pick<Semaphore, 'acquire'>;
  /** Arguments that every build gets. They are no part of an image's identity. */
  readonly args: Readonly<Record<string, string>>;
  /** How long to try again while registry, builder or git server are unavailable. */
  readonly retryMs: number;
  /** Whether this agent still leads; otherwise it must not cancel anything. */
  readonly leads: () => boolean;
  readonly log: Log;
  /** Called before waiters are notified, so that nobody joins a build that has ended. */
  readonly onSettled: (build: ImageBuild) => void;
  /** `seconds` is the time from the build's turn to its end; undefined if it never had its turn. */
  readonly onEnded: (state: EndState, seconds: number | undefined) => void;
}

/** Which image to build, and what is known of its build already. */
export interface ImageOrder {
  readonly tag: string;
  /** The version that asks first. */
  readonly version: SourceVersion;
  readonly sourceDigest: string;
  /** The agent before this one began the build, and it still runs. */
  readonly underWay: boolean;
  /** The record of that build, if there is one. */
  readonly known: BuildRecord | undefined;
}

export class ImageBuild {
  readonly tag: string;
  /** Resolves to the digest. */
  readonly task: SharedTask<string, Parameters<OnPhase>>;
  /** Resolves when the build has ended and cannot be joined any more. */
  readonly settled: Promise<void>;
  /** Resolves when it is known whether there is something to build. */
  readonly decided: Promise<void>;
  readonly #deps: ImageBuildDeps;
  readonly #order: ImageOrder;
  /** Every app and version that has asked, whether it still waits or not, as `app` and `app vN`. */
  readonly #askers = new Set<string>();
  readonly #decide: () => void;
  readonly #journal: BuildJournal;
  /** The builder has been asked, so that it may have something to cancel. */
  #begun: boolean;
  /** When the build had its turn first. */
  #turnMs: number | undefined;

  constructor(deps: ImageBuildDeps, order: ImageOrder) {
    this.#deps = deps;
    this.#order = order;
    this.tag = order.tag;
    this.#journal = new BuildJournal(deps);
    this.#begun = order.underWay;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.decided = promise;
    this.#decide = resolve;
    this.task = new SharedTask(() => this.#run(), {
      waitsForUndo: false,
      abandonedMessage: 'no version wants this image any more',
    });
    // Not in `#run`, which never begins if the lead is lost right away.
    this.settled = this.task.settled.then(() => {
      this.log.end();
      this.#decide();
      deps.onSettled(this);
    });
  }

  get log(): BuildLog {
    return this.#journal.log;
  }

  /** The current record, with the last lines; undefined until it is known that the image has to be built. */
  get record(): BuildRecord | undefined {
    return this.#journal.record;
  }

  asked({ app, version }: Pick<SourceVersion, 'app' | 'version'>): void {
    this.#askers.add(app).add(`${app} v${version}`);
  }

  wasAskedBy(app: string, version?: number): boolean {
    return this.#askers.has(version === undefined ? app : `${app} v${version}`);
  }

  get #image(): string {
    return `${this.#deps.repository}:${this.tag}`;
  }

  async #run(): Promise<string> {
    const { clock, retryMs } = this.#deps;
    const { signal } = this.task;
    using _saving = this.#journal.saveNowAndThen(signal);
    try {
      const onRetry = (error: AppError): void =>
        this.#report('queued', `${error.code}: ${error.message}; trying again`);
      const digest = await retryPassing({ clock, retryMs, signal, onRetry }, () => this.#attempt());
      this.#end('succeeded', { imageDigest: digest });
      return digest;
    } catch (thrown) {
      const error = withLines(toAppError(thrown), this.log);
      if (!signal.aborted) this.#end('failed', { failure: failureOf(error, 'build') });
      else if (this.task.abandoned) await this.#cancel();
      // Otherwise the lead is lost: the build goes on, and the next leader writes its record.
      throw error;
    }
  }

  async #attempt(): Promise<string> {
    const { version, underWay } = this.#order;
    const { signal } = this.task;
    this.task.progress(['source', 'looking for the image in the registry']);
    const found = await this.#look();
    if (found !== undefined) return found;
    signal.throwIfAborted();
    this.#enqueue();
    using _place = await this.#deps.places.acquire({
      key: version.app,
      signal,
      atOnce: underWay && this.#begun,
      onPosition: (position, of) =>
        this.task.progress(['queued', `build ${position} of ${of} in the queue`, { position, of }]),
    });
    return await this.#build();
  }

  async #build(): Promise<string> {
    const { sources, builder, args, log } = this.#deps;
    const { app, version, spec, config } = this.#order.version;
    const { signal } = this.task;
    this.#turnMs ??= this.#deps.clock.nowMs();
    this.task.progress(['source', 'fetching the source']);
    const tree = await inPhase('source', () => sources.tree(spec, this.#order.sourceDigest, signal));
    try {
      const recipe = await recipeOf(tree.folder, spec, config?.strip_path);
      signal.throwIfAborted();
      this.#journal.running();
      this.#report('build', `building with ${builder.kind}, by ${recipe.title}`);
      for (const note of recipe.notes) this.#report('build', `note: ${note}`);
      log.info({ tag: this.tag, app, version, builder: builder.kind, by: recipe.title }, 'build started');
      this.#begun = true;
      const digest = await builder.build(
        {
          tag: this.tag,
          image: this.#image,
          tree,
          dockerfile: recipe.dockerfile,
          extraFiles: recipe.extraFiles,
          args: { ...args, ...spec.build.args },
          secretArgs: spec.build_secrets,
          target: spec.build.target,
          app,
          version,
        },
        {
          signal,
          onPhase: (message) => this.task.progress(['build', message]),
          onLine: (line) => this.log.push(line),
        },
      );
      return await this.#verified(digest);
    } finally {
      tree.release();
    }
  }

  /** Checks that the registry has what the builder says it pushed: versions run what the registry has. */
  async #verified(digest: string): Promise<string> {
    this.task.progress(['build', 'checking that the registry has the image']);
    const found = await this.#inRegistry();
    if (found === digest) return digest;
    const claim = `the builder reports that it pushed ${this.#image} with ${digest}, but the registry has`;
    if (found !== undefined) {
      const message = `${claim} ${found} there: something else pushes this tag, or changes images on the way`;
      throw new AppError('build_failed', message, { phase: 'build' });
    }
    // The next attempt must not join this build, since its image is not there.
    await this.#deps.builder.cancel(this.tag);
    this.#begun = false;
    throw new AppError('registry_unavailable', `${claim} no such image: do both use the same registry and project?`, {
      phase: 'build',
    });
  }

  /** @returns the digest of the image in the registry if it was built here. */
  #look(): Promise<string | undefined> {
    const { registry, gate, provenance } = this.#deps;
    const { app, version } = this.#order.version;
    return gate.lookup(async () => {
      const digest = await registry.exists(this.#image, this.task.signal);
      if (digest === undefined || !(await provenance.isOurs(this.tag, digest))) return undefined;
      // Versions that join later record it for themselves.
      gate.handOut({ app, version, tag: this.tag, digest });
      return digest;
    });
  }

  #inRegistry(): Promise<string | undefined> {
    const { registry, gate } = this.#deps;
    return gate.lookup(() => registry.exists(this.#image, this.task.signal));
  }

  async #cancel(): Promise<void> {
    const { builder, log, leads } = this.#deps;
    if (!leads()) return; // the next leader decides whether it is wanted
    try {
      if (this.#begun) await builder.cancel(this.tag);
    } catch (error) {
      log.warn({ err: toAppError(error), tag: this.tag }, 'could not cancel a build that no version wants any more');
    }
    this.#end('cancelled', {});
  }

  #enqueue(): void {
    const { known, version: wanted } = this.#order;
    if (known && !this.record) this.#journal.resumed(known);
    else {
      const { app, version } = wanted;
      this.#journal.queued({ tag: this.tag, app, version, builder: this.#deps.builder.kind });
    }
    this.#decide();
  }

  #end(state: EndState, outcome: Pick<Partial<BuildRecord>, 'imageDigest' | 'failure'>): void {
    this.#journal.ended(state, outcome);
    const { record } = this;
    if (!record) return; // nothing had to be built
    const { clock, log, onEnded } = this.#deps;
    const seconds = this.#turnMs === undefined ? undefined : (clock.nowMs() - this.#turnMs) / 1_000;
    const { app, version, failure } = record;
    log.info({ tag: this.tag, app, version, state, seconds, code: failure?.code }, 'build ended');
    onEnded(state, seconds);
  }

  #report(phase: 'queued' | 'build', message: string): void {
    this.task.progress([phase, message]);
    this.log.push(`holdfast: ${message}`);
  }
}
