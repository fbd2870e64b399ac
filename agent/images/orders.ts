/** Versions that want their image: it is looked for in the registry, or built once for all that want the same one. */
import { AppError, toAppError } from '../../shared/errors.ts';
import { aborted, untilAborted } from '../../shared/wait/abort.ts';
import type { Sources } from '../source/sources.ts';
import type { BuildRecord } from '../store/build-store.ts';
import type { Adopted } from './adoption.ts';
import { ImageBuild, type ImageBuildDeps } from './build.ts';
import { newestFirst, type BuildRecords } from './build-records.ts';
import { inPhase, retryPassing } from './failures.ts';
import { imageTag } from './identity.ts';
import type { BuiltImage, ImageOptions, SourceVersion } from './images.ts';
import { recipeOf } from './recipe.ts';

export interface OrdersDeps extends Omit<ImageBuildDeps, 'leads' | 'onSettled' | 'records'> {
  readonly sources: Pick<Sources, 'resolve' | 'tree'>;
  readonly records: Pick<BuildRecords, 'save' | 'want'>;
}

/** A version that waits for its image. */
interface Order extends Pick<SourceVersion, 'app' | 'version'> {
  /** Resolves when it is known whether the image has to be built. */
  readonly decided: Promise<void>;
}

export class ImageOrders {
  readonly #deps: OrdersDeps;
  /** Builds under way in this process, by tag. */
  readonly #builds = new Map<string, ImageBuild>();
  readonly #open = new Set<Order>();
  /** Builds of the previous leader that still run, that a version wants, and that nobody has asked for yet. */
  #adopted: Adopted = new Map();
  #leads = false;

  constructor(deps: OrdersDeps) {
    this.#deps = deps;
  }

  /** From now on builds may begin. An adopted one is joined when its image is asked for. */
  takeLead(adopted: Adopted): void {
    this.#adopted = adopted;
    this.#leads = true;
  }

  /** From now on nothing is begun or cancelled: builds under way are left to the next leader. */
  releaseLead(): void {
    this.#leads = false;
    this.#adopted = new Map();
    const reason = new AppError('not_leader', 'this agent does not lead any more');
    for (const build of this.#builds.values()) void build.task.abort(reason);
  }

  /** As `Images.ensure`. */
  async ensure(wanted: SourceVersion, options: ImageOptions): Promise<BuiltImage> {
    const { promise: decided, resolve: decide } = Promise.withResolvers<void>();
    const order: Order = { app: wanted.app, version: wanted.version, decided };
    this.#open.add(order);
    try {
      const { signal, onPhase } = options;
      signal.throwIfAborted();
      const known = await this.#findKnown(wanted, signal);
      if (known) return known;
      onPhase('source', 'fetching the source');
      const identity = await this.#identify(wanted, options);
      return await this.#built(wanted, identity, { ...options, onDecided: decide });
    } finally {
      this.#open.delete(order);
      decide();
    }
  }

  /** Looks in the registry for an image whose tag is known from an earlier try, so that its source is not needed. */
  async #findKnown({ app, version, pin }: SourceVersion, signal: AbortSignal): Promise<BuiltImage | undefined> {
    const { imageTag: tag } = pin;
    if (tag === null) return undefined;
    const { gate, registry, repository, provenance } = this.#deps;
    try {
      return await gate.lookup(async () => {
        const digest = await registry.exists(`${repository}:${tag}`, signal);
        if (digest === undefined || !(await provenance.isOurs(tag, digest))) return undefined;
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

  /** Fetches the source, which decides the tag of the image. */
  async #identify(wanted: SourceVersion, { signal, onPhase }: ImageOptions): Promise<Identity> {
    const { clock, retryMs, sources, builder } = this.#deps;
    const { spec, config, pin } = wanted;
    const onRetry = (error: AppError): void => onPhase('source', `${error.code}: ${error.message}; trying again`);
    return await retryPassing({ clock, retryMs, signal, onRetry }, () =>
      inPhase('source', async () => {
        const sourceDigest = pin.sourceDigest ?? (await sources.resolve(spec, signal));
        const tree = await sources.tree(spec, sourceDigest, signal);
        try {
          const { dockerfile, extraFiles } = await recipeOf(tree.folder, spec, config?.strip_path);
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

  /** Waits for the build of the tag, and begins it if there is none. */
  async #built(
    wanted: SourceVersion,
    { tag, sourceDigest }: Identity,
    { signal, onPhase, onDecided }: ImageOptions & { readonly onDecided: () => void },
  ): Promise<BuiltImage> {
    const { gate, records } = this.#deps;
    const { app, version } = wanted;
    for (;;) {
      // A build ends when the last one who waits leaves, so whoever begins one has to wait for it.
      signal.throwIfAborted();
      if (!this.#leads) {
        // Losing the lead is no failure of the image: the caller's signal aborts soon.
        await aborted(signal);
        continue;
      }
      const build = this.#buildOf(tag, wanted, sourceDigest);
      if (build.task.aborted) {
        await untilAborted(build.settled, signal);
        continue;
      }
      build.asked(wanted);
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

  /** Returns the build of the tag, and begins one if there is none. It never waits, so that two callers cannot both begin one. */
  #buildOf(tag: string, wanted: SourceVersion, sourceDigest: string): ImageBuild {
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
    const build = new ImageBuild(deps, { tag, version: wanted, sourceDigest, underWay, known });
    this.#builds.set(tag, build);
    return build;
  }

  /** The build of the tag that is under way in this process. */
  build(tag: string): ImageBuild | undefined {
    return this.#builds.get(tag);
  }

  /** Records of builds under way in this process, newest first; only those of an app or version if one is given. */
  underWay(app?: string, version?: number): BuildRecord[] {
    const found = [...this.#builds.values()].filter((build) => app === undefined || build.wasAskedBy(app, version));
    return newestFirst(found.flatMap(({ record }) => record ?? []));
  }

  /** Tags of images that are being built. */
  get busy(): ReadonlySet<string> {
    return new Set([...this.#builds.keys(), ...this.#adopted.keys()]);
  }

  /** An adopted build has ended, so there is nothing to join. */
  forgetAdopted(tag: string): void {
    this.#adopted.delete(tag);
  }

  /** Resolves when it is known for every waiting version of the app whether its image has to be built. */
  async decided(app: string, version: number | undefined, signal: AbortSignal): Promise<void> {
    const asked = [...this.#open].filter(
      (order) => order.app === app && (version === undefined || order.version === version),
    );
    for (const order of asked) await untilAborted(order.decided, signal);
  }

  /** Resolves when no build is under way; to be called after `releaseLead`. */
  async idle(): Promise<void> {
    await Promise.all([...this.#builds.values()].map(({ settled }) => settled));
  }
}

/** What an image is made of. */
interface Identity {
  readonly tag: string;
  readonly sourceDigest: string;
}
