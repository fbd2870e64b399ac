/** Orders of images: each image is looked for in the registry, else built once for all who ask. */
import { AppError, toAppError } from '../../shared/errors.ts';
import { aborted, untilAborted } from '../../shared/wait/abort.ts';
import type { PrepareOptions, VersionRun } from '../platform/platform.ts';
import type { Sources } from '../source/sources.ts';
import type { BuildRecord } from '../store/build-store.ts';
import type { Adopted } from './adoption.ts';
import { ImageBuild, type ImageBuildDeps } from './build.ts';
import { newestFirst, type BuildRecords } from './build-records.ts';
import { inPhase, retryPassing } from './failures.ts';
import { imageTag } from './identity.ts';
import type { BuiltImage } from './images.ts';
import { recipeOf } from './recipe.ts';

export interface OrdersDeps extends Omit<ImageBuildDeps, 'leads' | 'onSettled' | 'records'> {
  readonly sources: Pick<Sources, 'resolve' | 'tree'>;
  readonly records: Pick<BuildRecords, 'save' | 'want'>;
}

interface Order extends Pick<VersionRun, 'app' | 'version'> {
  /** Resolves when it is known whether the image has to be built. */
  readonly decided: Promise<void>;
}

export class ImageOrders {
  readonly #deps: OrdersDeps;
  /** By tag. */
  readonly #builds = new Map<string, ImageBuild>();
  /** The orders that wait for their image. */
  readonly #open = new Set<Order>();
  /** Builds of the agent before this one that a version wants and nobody has asked for yet. */
  #adopted: Adopted = new Map();
  #leads = false;

  constructor(deps: OrdersDeps) {
    this.#deps = deps;
  }

  /** From now on builds are begun. Those adopted are joined when their image is asked for. */
  takeLead(adopted: Adopted): void {
    this.#adopted = adopted;
    this.#leads = true;
  }

  /** From now on nothing is begun or cancelled; builds under way are for the next leader. */
  releaseLead(): void {
    this.#leads = false;
    this.#adopted = new Map();
    const reason = new AppError('not_leader', 'this agent does not lead any more');
    for (const build of this.#builds.values()) void build.task.abort(reason);
  }

  /** As `Images.ensure`. */
  async ensure(run: VersionRun, options: PrepareOptions): Promise<BuiltImage> {
    const { promise: decided, resolve: decide } = Promise.withResolvers<void>();
    const order: Order = { app: run.app, version: run.version, decided };
    this.#open.add(order);
    try {
      const { signal, onPhase } = options;
      signal.throwIfAborted();
      const known = await this.#findKnown(run, signal);
      if (known) return known;
      onPhase('source', 'fetches the source');
      const identity = await this.#identify(run, options);
      return await this.#built(run, identity, { ...options, onDecided: decide });
    } finally {
      this.#open.delete(order);
      decide();
    }
  }

  /** Looks for a version whose tag is known from an earlier try, without its source. */
  async #findKnown({ app, version, pin }: VersionRun, signal: AbortSignal): Promise<BuiltImage | undefined> {
    const { imageTag: tag } = pin;
    if (tag === null) return undefined;
    const { gate, registry, repository } = this.#deps;
    try {
      return await gate.lookup(async () => {
        const digest = await registry.exists(`${repository}:${tag}`, signal);
        if (digest === undefined) return undefined;
        gate.handOut({ app, version, tag, digest });
        return { imageTag: tag, imageDigest: digest };
      });
    } catch (error) {
      signal.throwIfAborted();
      // The build asks the registry again, and for longer.
      if (toAppError(error).code === 'registry_unavailable') return undefined;
      throw error;
    }
  }

  /** Names the image by its source, which is fetched for that. */
  async #identify(run: VersionRun, { signal, onPhase }: PrepareOptions): Promise<Identity> {
    const { clock, retryMs, sources, presets, builder } = this.#deps;
    const { spec, pin } = run;
    const onRetry = (error: AppError): void => onPhase('source', `${error.code}: ${error.message}; tries again`);
    return await retryPassing({ clock, retryMs, signal, onRetry }, () =>
      inPhase('source', async () => {
        const sourceDigest = pin.sourceDigest ?? (await sources.resolve(spec, signal));
        const tree = await sources.tree(spec, sourceDigest, signal);
        try {
          const { dockerfile, extraFiles } = await recipeOf(tree.folder, spec, presets);
          const tag = await imageTag({
            treeDigest: tree.digest,
            dockerfile,
            extraFiles,
            args: spec.build.args,
            secretArgs: spec.build_secrets,
            target: spec.build.target,
            builder: builder.kind,
          });
          return { tag, sourceDigest };
        } finally {
          tree.release();
        }
      }),
    );
  }

  /** Waits for the build of the tag, which is begun where there is none. */
  async #built(
    run: VersionRun,
    { tag, sourceDigest }: Identity,
    { signal, onPhase, onDecided }: PrepareOptions & { readonly onDecided: () => void },
  ): Promise<BuiltImage> {
    const { gate, records } = this.#deps;
    const { app, version } = run;
    for (;;) {
      // A build that nobody waits for would go on for ever: it is begun by those who do.
      signal.throwIfAborted();
      if (!this.#leads) {
        // A lost lead is no failure of the image: the caller ends with the lead.
        await aborted(signal);
        continue;
      }
      const build = this.#buildOf(tag, run, sourceDigest);
      if (build.task.aborted) {
        await untilAborted(build.settled, signal);
        continue;
      }
      build.asked(run);
      build.decided.then(onDecided, onDecided);
      records.want(app, version, tag);
      try {
        const imageDigest = await build.task.join(signal, (progress) => onPhase(...progress));
        gate.handOut({ app, version, tag, digest: imageDigest });
        return { imageTag: tag, imageDigest };
      } catch (error) {
        signal.throwIfAborted();
        if (!build.task.aborted) throw error;
      }
    }
  }

  /** Never waits, so that two who ask cannot both begin a build. */
  #buildOf(tag: string, run: VersionRun, sourceDigest: string): ImageBuild {
    const running = this.#builds.get(tag);
    if (running) return running;
    const underWay = this.#adopted.has(tag);
    const known = this.#adopted.get(tag);
    this.#adopted.delete(tag);
    const deps = {
      ...this.#deps,
      leads: () => this.#leads,
      onSettled: () => void this.#builds.delete(tag),
    };
    const build = new ImageBuild(deps, { tag, run, sourceDigest, underWay, known });
    this.#builds.set(tag, build);
    return build;
  }

  /** The build of a tag that is under way here. */
  build(tag: string): ImageBuild | undefined {
    return this.#builds.get(tag);
  }

  /** The records of builds that are under way here, newest first: all, of an app, or of one of its versions. */
  underWay(app?: string, version?: number): BuildRecord[] {
    const found = [...this.#builds.values()].filter((build) => app === undefined || build.wasAskedBy(app, version));
    return newestFirst(found.flatMap(({ record }) => record ?? []));
  }

  /** Tags of images that are being built, or are about to be. */
  get busy(): ReadonlySet<string> {
    return new Set([...this.#builds.keys(), ...this.#adopted.keys()]);
  }

  /** An adopted build has ended: there is nothing to join. */
  forgetAdopted(tag: string): void {
    this.#adopted.delete(tag);
  }

  /** Resolves when it is known for each open order of the app (or version) whether it is to be built. */
  async decided(app: string, version: number | undefined, signal: AbortSignal): Promise<void> {
    const asked = [...this.#open].filter(
      (order) => order.app === app && (version === undefined || order.version === version),
    );
    for (const order of asked) await untilAborted(order.decided, signal);
  }

  /** Resolves when no build is under way here; after `releaseLead`. */
  async idle(): Promise<void> {
    await Promise.all([...this.#builds.values()].map(({ settled }) => settled));
  }
}

interface Identity {
  readonly tag: string;
  readonly sourceDigest: string;
}
